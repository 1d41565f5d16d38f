"""Keys, logins and what they may do."""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import Field, PlainValidator, StringConstraints

from gateway.requests.fields import Name, Request, Text, Time, Word, text_schema

LOGIN = re.compile(r"[a-z0-9._@+-]{3,64}")


class Scope(StrEnum):
    READ = "read"
    TRADE = "trade"
    TRANSFER = "transfer"
    ADMIN = "admin"


class NewApiKey(Request):
    scopes: list[Word[Scope]] = Field(min_length=1, max_length=4)
    ip_allow: list[Name] = Field([], max_length=32)
    expires_at: Time | None = None
    label: Name | None = None
    reason: Text | None = None


def _login(value: object) -> str:
    """Case makes no difference."""
    text = value.lower() if isinstance(value, str) else ""
    if not LOGIN.fullmatch(text):
        raise ValueError("must be 3 to 64 of a-z 0-9 . _ @ + -")
    return text


Login = Annotated[
    str,
    PlainValidator(_login),
    text_schema("login name; case makes no difference", "ada", pattern="^[A-Za-z0-9._@+-]{3,64}$"),
]
Password = Annotated[str, StringConstraints(max_length=1_000)]  # what is good enough, access/passwords.py says


class SignIn(Request):
    login: Login
    password: Password


class SignUp(SignIn):
    """name: of the account, as its owner may call it."""

    name: Name | None = None


class NewPassword(Request):
    """password: the present one."""

    password: Password
    new_password: Password


class NewUser(SignIn):
    """A login that acts for an account. scopes: `admin` makes it an operator's."""

    account_id: Name
    scopes: list[Word[Scope]] = Field(min_length=1, max_length=4)
    reason: Text | None = None
