"""People who sign in with a password, and the sessions of their browsers.

A session is a random token in a cookie; kept is only its SHA-256, so that who reads the tables can't be anybody.
Sessions are live credentials beside API keys (auth.py): what holds for a revoked key holds for a session that ended.
The CSRF token is made from the session's token, so a page that can't read our answers can't know it.
"""

import hashlib
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

import asyncpg
from aiohttp import web

from gateway.access.addresses import Network
from gateway.access.auth import Clock, Credential, LiveCredentials, Principal, moment_of, nanos_of
from gateway.access.passwords import Passwords, check_password
from gateway.access.throttle import Throttle
from gateway.errors import AuthInvalidLogin, AuthRequired
from gateway.requests.access import Scope
from gateway.wire import SECOND
from market.errors import DuplicateId, InvalidArguments
from market.ids import AccountId, Currency, Minor, Nanos

log = logging.getLogger(__name__)

# The row of the user is locked while it is looked at, so no session begins by a password that is being changed.
NEW_SESSION = """
    INSERT INTO web_session (token_hash, user_id, created_at, expires_at, address, user_agent)
    SELECT $1, user_id, $3, $4, $5, $6 FROM web_user WHERE user_id = $2 AND password_hash = $7 FOR SHARE
    RETURNING true
"""
NEW_PASSWORD = """
    UPDATE web_user SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2 RETURNING true
"""
END_OTHERS = "DELETE FROM web_session WHERE user_id = $1 AND token_hash <> $2"

SESSIONS_MAX = 20  # of one person: a further one ends the oldest
USER_AGENT_MAX = 200
TRIES_PER_LOGIN, TRY_EVERY_S = 10, 10.0  # wrong passwords
TRIES_PER_PEER, PEER_TRY_EVERY_S = 50, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who may sign in, and what for. user_id: what the log records as the actor."""

    user_id: str
    login: str
    password_hash: str = field(repr=False)
    account_id: AccountId
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSession:
    """A credential. Times in nanoseconds.  seen: where it began."""

    token_hash: bytes
    user: User
    created_at: Nanos
    ends_at: Nanos
    seen: "Seen"

    @property
    def id(self) -> str:
        return f"ws_{self.token_hash.hex()}"

    @property
    def actor(self) -> str:
        return self.user.user_id

    @property
    def account_id(self) -> AccountId:
        return self.user.account_id

    @property
    def scopes(self) -> frozenset[Scope]:
        return self.user.scopes

    @property
    def ip_allow(self) -> tuple[Network, ...]:
        return ()

    @property
    def expires_at(self) -> Nanos:
        return self.ends_at


@dataclass(frozen=True, slots=True)
class Seen:
    """What a person knows a session by."""

    address: str | None = None
    user_agent: str | None = None

    @classmethod
    def of(cls, request: web.Request) -> "Seen":
        said = request.headers.get("User-Agent", "")[:USER_AGENT_MAX]
        return cls(request.remote, "".join(filter(str.isprintable, said)) or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUps:
    """Whether strangers may open an account. cash: simulated, in minor units, for each of them."""

    allowed: bool
    cash: Mapping[Currency, Minor]
    throttle: Throttle


def csrf_token(token: str) -> str:
    """Return what X-CSRF-Token must be in a session's writes."""
    return hmac.new(token.encode(errors="surrogateescape"), b"csrf", hashlib.sha256).hexdigest()


def is_csrf_token(given: str, token: str) -> bool:
    return hmac.compare_digest(csrf_token(token).encode(), given.encode(errors="surrogateescape"))


class WebSessions:
    """All who may sign in, and all who are. live: where sessions join the API keys.  life_s: of a session."""

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", *, live: LiveCredentials, clock: Clock, life_s: int
    ) -> None:
        self._pool = pool
        self._live = live
        self._clock = clock
        self._life_s = life_s
        self._users: dict[str, User] = {}  # by login
        self._taking: set[str] = set()  # logins that are being made
        self._passwords = Passwords()
        self._tries_of_login = Throttle("wrong passwords", burst=TRIES_PER_LOGIN, every_s=TRY_EVERY_S)
        self._tries_of_peer = Throttle("wrong passwords", burst=TRIES_PER_PEER, every_s=PEER_TRY_EVERY_S)

    async def load(self) -> None:
        """Read all, and forget sessions that ended. Call it before the first request."""
        await self._pool.execute("DELETE FROM web_session WHERE expires_at <= $1", moment_of(self._clock()))
        users = [_user(record) for record in await self._pool.fetch("SELECT * FROM web_user")]
        self._users = {user.login: user for user in users}
        by_id = {user.user_id: user for user in users}
        for record in await self._pool.fetch("SELECT * FROM web_session ORDER BY created_at"):
            self._live.add(_session(record, by_id[record["user_id"]]))

    async def refresh_user(self, user_id: str) -> None:
        """Read one person again: another gateway made or changed it."""
        record = await self._pool.fetchrow("SELECT * FROM web_user WHERE user_id = $1", user_id)
        if record is not None:
            user = _user(record)
            self._users[user.login] = user

    async def refresh(self, token_hash: bytes) -> None:
        """Read one session again: another gateway began or ended it."""
        record = await self._pool.fetchrow("SELECT * FROM web_session WHERE token_hash = $1", token_hash)
        if record is None:
            self._live.remove(f"ws_{token_hash.hex()}")
        else:
            query = "SELECT * FROM web_user WHERE user_id = $1"
            self._live.add(_session(record, _user(await self._pool.fetchrow(query, record["user_id"]))))

    async def refresh_all(self) -> None:
        """Read everybody, and every session that is known here or in the table."""
        for record in await self._pool.fetch("SELECT user_id FROM web_user"):
            await self.refresh_user(record["user_id"])
        stored = await self._pool.fetch("SELECT token_hash FROM web_session")
        known = {bytes.fromhex(each.removeprefix("ws_")) for each in self._live.ids_of(WebSession)}
        for token_hash in {record["token_hash"] for record in stored} | known:
            await self.refresh(token_hash)

    def user(self, login: str) -> User | None:
        return self._users.get(login)

    # Signing in and out

    async def sign_in(self, login: str, password: str, *, seen: Seen) -> tuple[WebSession, str]:
        """Return a new session and its token. Raises AuthInvalidLogin, RateLimited, Busy."""
        user = self._users.get(login)
        await self._prove(login, user, password, address=seen.address or "")
        assert user is not None
        if self._passwords.is_outdated(user.password_hash):
            user = await self._rehash(user, password)
        return await self.begin(user, seen)

    async def _prove(self, login: str, user: User | None, password: str, *, address: str) -> None:
        self._tries_of_peer.take(address)
        self._tries_of_login.take(login)
        try:
            await self._passwords.require(None if user is None else user.password_hash, password)
        except AuthInvalidLogin:
            log.warning("sign_in_refused address=%s", address)
            raise
        self._tries_of_peer.give_back(address)
        self._tries_of_login.give_back(login)

    async def begin(self, user: User, seen: Seen) -> tuple[WebSession, str]:
        """Return a new session of somebody who proved to be the user, and its token.

        Raises AuthInvalidLogin if the password was changed meanwhile. The session is live before it is stored, so that
        who ends all sessions of the user from here or from another gateway finds it; nobody knows its token yet.
        """
        sessions = self.of_user(user)
        for oldest in sessions[: max(0, len(sessions) + 1 - SESSIONS_MAX)]:
            await self.end(oldest)
        token, now = secrets.token_urlsafe(32), Nanos(self._clock())
        session = WebSession(
            token_hash=_hash_of(token),
            user=user,
            created_at=now,
            ends_at=Nanos(now + self._life_s * SECOND),
            seen=seen,
        )
        self._live.add(session)
        try:
            stored = await self._pool.fetchval(
                NEW_SESSION,
                session.token_hash,
                user.user_id,
                moment_of(session.created_at),
                moment_of(session.ends_at),
                seen.address,
                seen.user_agent,
                user.password_hash,
            )
            if stored is None:
                raise AuthInvalidLogin
        except BaseException:
            self._live.remove(session.id)
            raise
        log.info("signed_in user=%s", user.user_id)
        return session, token

    def of_token(self, token: str) -> Principal:
        """Return who a cookie stands for. Raises AuthRequired if its session has ended."""
        session = self._live.get(f"ws_{_hash_of(token).hex()}")
        if session is None:
            raise AuthRequired("the session has ended: sign in again")
        return Principal(session)

    async def end(self, session: WebSession) -> None:
        """Sign out. Sockets of the session are soon closed."""
        self._live.remove(session.id)
        await self._pool.execute("DELETE FROM web_session WHERE token_hash = $1", session.token_hash)
        log.info("signed_out user=%s", session.user.user_id)

    async def end_others(self, session: WebSession) -> int:
        """End all sessions of the person but this one; return how many."""
        others = self._others(session)
        for each in others:
            await self.end(each)
        return len(others)

    def _others(self, session: WebSession) -> list[WebSession]:
        return [each for each in self.of_user(session.user) if each.id != session.id]

    def of_user(self, user: User) -> list[WebSession]:
        """Return a person's sessions, the oldest first."""
        return [each for each in self._live.of_account(user.account_id) if _is_of(each, user)]

    # Those who may

    async def add_user(
        self,
        login: str,
        password: str,
        scopes: frozenset[Scope],
        *,
        account: Callable[[], Awaitable[AccountId]],
        by: str,
        reason: str | None = None,
    ) -> User:
        """Let somebody sign in. account: finds or opens the account, once all else is known to be good.

        Raises DuplicateId, InvalidArguments, Busy, and what `account` raises.
        """
        check_password(password, login=login)
        if login in self._users or login in self._taking:
            raise DuplicateId("this login name is taken", field="login")
        self._taking.add(login)
        try:
            password_hash = await self._passwords.hash(password)
            user = User(
                user_id=f"u_{secrets.token_hex(12)}",
                login=login,
                password_hash=password_hash,
                account_id=await account(),
                scopes=scopes,
            )
            await self._pool.execute(
                "INSERT INTO web_user (user_id, login, password_hash, account_id, scopes, created_by, reason) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7)",
                user.user_id,
                login,
                password_hash,
                user.account_id,
                sorted(scopes),
                by,
                reason,
            )
        except asyncpg.UniqueViolationError as e:  # another gateway was quicker
            raise DuplicateId("this login name is taken", field="login") from e
        finally:
            self._taking.discard(login)
        self._users[login] = user
        return user

    async def change_password(self, session: WebSession, password: str, new: str, *, address: str) -> int:
        """Replace a person's password and end all other sessions, in one step; return how many ended.

        Raises InvalidArguments for a present password that is wrong or a new one that is too easy, RateLimited, Busy.
        """
        user = self._users[session.user.login]
        try:
            await self._prove(user.login, user, password, address=address)
        except AuthInvalidLogin as e:
            raise InvalidArguments("password: is not the present one", field="password") from e
        check_password(new, login=user.login, field="new_password")
        if new == password:
            raise InvalidArguments("new_password: is the present one", field="new_password", rule="same")
        changed = replace(user, password_hash=await self._passwords.hash(new))
        async with self._pool.acquire() as connection, connection.transaction():
            await self._keep(connection, user, changed)
            await connection.execute(END_OTHERS, user.user_id, session.token_hash)
        self._users[user.login] = changed
        others = self._others(session)
        for each in others:
            self._live.remove(each.id)
        log.info("password_changed user=%s", user.user_id)
        return len(others)

    async def _rehash(self, user: User, password: str) -> User:
        """Keep the same password by today's parameters."""
        changed = replace(user, password_hash=await self._passwords.hash(password))
        await self._keep(self._pool, user, changed)
        self._users[user.login] = changed
        return changed

    async def _keep(self, connection: Any, user: User, changed: User) -> None:
        """Raises AuthInvalidLogin if the password is another one by now."""
        if await connection.fetchval(NEW_PASSWORD, user.user_id, user.password_hash, changed.password_hash) is None:
            raise AuthInvalidLogin


def _is_of(credential: Credential, user: User) -> TypeGuard[WebSession]:
    return isinstance(credential, WebSession) and credential.user.user_id == user.user_id


def _hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _user(record: asyncpg.Record) -> User:
    return User(
        user_id=record["user_id"],
        login=record["login"],
        password_hash=record["password_hash"],
        account_id=AccountId(record["account_id"]),
        scopes=frozenset(Scope(scope) for scope in record["scopes"]),
    )


def _session(record: asyncpg.Record, user: User) -> WebSession:
    return WebSession(
        token_hash=record["token_hash"],
        user=user,
        created_at=nanos_of(record["created_at"]),
        ends_at=nanos_of(record["expires_at"]),
        seen=Seen(record["address"], record["user_agent"]),
    )
