"""Keys, tokens and logins."""

from typing import Literal

from pydantic import BaseModel

from gateway.answers.fields import Count, Moment
from gateway.requests.access import Scope
from market.commands import AccountKind


class Token(BaseModel):
    """expires: seconds from now."""

    token: str
    expires: Count
    expires_at: Moment


class Key(BaseModel):
    key: str
    account_id: str
    scopes: list[Scope]
    ip_allow: list[str]
    expires_at: Moment | None
    created_at: Moment
    created_by: str
    reason: str | None
    label: str | None


class NewKey(Key):
    """secret: shown this once."""

    secret: str


class RevokedKey(BaseModel):
    key: str
    revoked: Literal[True]


class SessionInfo(BaseModel):
    """Who one is. An API key has no login; a session's writes carry csrf_token as X-CSRF-Token.

    blocked: by one's own kill switch.  frozen: by the operator.
    """

    login: str | None
    user_id: str | None
    account_id: str
    kind: AccountKind
    name: str
    blocked: bool
    frozen: bool
    scopes: list[Scope]
    csrf_token: str | None
    created_at: Moment | None
    expires_at: Moment | None


class SignedOut(BaseModel):
    signed_out: Literal[True]


class ListedSession(BaseModel):
    """A place where one is signed in. address, user_agent: from where, and by what, as it said itself."""

    session_id: str
    current: bool
    created_at: Moment
    expires_at: Moment
    address: str | None
    user_agent: str | None


class EndedSessions(BaseModel):
    """ended: how many."""

    ended: Count


class ChangedPassword(EndedSessions):
    changed: Literal[True]


class NewUserOut(BaseModel):
    user_id: str
    login: str
    account_id: str
    scopes: list[Scope]


class AdminKey(NewKey):
    engine_seq: Count
