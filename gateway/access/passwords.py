"""Passwords: which are good enough, how they are kept (argon2id), how one is checked without telling what is known.

Hashing is slow and large on purpose: a few at a time, in threads, and no endless queue of them.
"""

import asyncio
import secrets
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.errors import AuthInvalidLogin
from market.errors import Busy, InvalidArguments

LENGTH_MIN, LENGTH_MAX = 10, 128  # characters
DIFFERENT_MIN = 5  # characters
AT_ONCE = 2
WAITING_MAX = 100

# Among the first that anybody would try, digits and punctuation at the end aside.
COMMON = frozenset({
    "1234567890", "12345678910", "0123456789", "0987654321", "1q2w3e4r5t", "1qaz2wsx3edc", "q1w2e3r4t5", "qwertyuiop",
    "qwerty", "asdfghjkl", "zxcvbnm", "abcdefghij", "administrator", "passwordpassword", "password", "mypassword",
    "changeme", "changemenow", "letmein", "letmeinplease", "iloveyou", "iloveyouforever", "welcome", "sunshine",
    "football", "basketball", "baseball", "superman", "starwars", "whatever", "trustno", "princess", "debtmarket",
})  # fmt: skip

T = TypeVar("T")


def check_password(password: str, *, login: str, field: str = "password") -> None:
    """Raises InvalidArguments, saying why, for a password that is too easy to guess."""
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise InvalidArguments(
            f"{field}: must have {LENGTH_MIN} to {LENGTH_MAX} characters", field=field, rule="length"
        )
    plain = password.lower()
    if len(set(plain)) < DIFFERENT_MIN:
        raise InvalidArguments(
            f"{field}: must have at least {DIFFERENT_MIN} different characters", field=field, rule="variety"
        )
    if plain in COMMON or plain.rstrip("0123456789.!?-_#*$") in COMMON:
        raise InvalidArguments(f"{field}: is among the first that anybody would try", field=field, rule="common")
    if login and (login in plain or plain in login):
        raise InvalidArguments(f"{field}: must not be made from the login name", field=field, rule="like_login")


class Passwords:
    """Hashes and checks. Costs: argon2id, 19 MiB, 2 passes, 1 lane (OWASP Password Storage Cheat Sheet)."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1, type=Type.ID)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._decoy = self._hash_of_nothing()

    async def hash(self, password: str) -> str:
        """Return what to keep of a password. Raises Busy."""
        return await self._in_turn(lambda: self._hasher.hash(_normal(password)))

    async def require(self, kept: str | None, password: str) -> None:
        """Raises AuthInvalidLogin unless the password is the one that was kept, Busy if too many ask.

        kept: None where there is none, which takes as long as a wrong password: nobody learns which logins exist.
        """

        def is_right() -> bool:
            try:
                return self._hasher.verify(self._decoy if kept is None else kept, _normal(password))
            except (VerificationError, InvalidHashError):
                return False

        if not await self._in_turn(is_right) or kept is None:
            raise AuthInvalidLogin

    def is_outdated(self, kept: str) -> bool:
        """Whether it was hashed with parameters other than today's."""
        return self._hasher.check_needs_rehash(kept)

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise Busy("too many people sign in")
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1

    def _hash_of_nothing(self) -> str:
        """Return a hash that no known password has, and that costs as much to compare with as any other."""
        hasher = self._hasher
        salt, digest = (
            b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (hasher.salt_len, hasher.hash_len)
        )
        costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
        return f"$argon2id$v=19${costs}${salt}${digest}"


def _normal(password: str) -> str:
    """Two keyboards may write the same letter in two ways (RFC 8265, OpaqueString)."""
    return unicodedata.normalize("NFC", password)
