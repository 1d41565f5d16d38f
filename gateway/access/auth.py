"""Who is asking, and may he: API keys, request signatures, socket logins, tokens, scopes.

Keys live in the database and, all of them, in memory; a change is durable before it is known here. A request's
signature is good once (replays.py), also through a restart: what was signed before this process began is refused, and
what was used ahead of its time is in the database.
"""

import base64
import hashlib
import hmac
import logging
import secrets
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any, Protocol

import asyncpg

from gateway.access.addresses import Network, address_of, is_in, is_within
from gateway.access.replays import WINDOW, LocalReplays, Replays
from gateway.errors import (
    AuthInvalidKey,
    AuthInvalidSignature,
    AuthPermissionDenied,
    AuthRequired,
    AuthTimestamp,
    RateLimited,
)
from gateway.requests.access import NewApiKey, Scope
from gateway.wire import SECOND, time_or_none, time_text
from market.errors import InvalidArguments
from market.ids import AccountId, Nanos

log = logging.getLogger(__name__)

TOKEN_LIFE = 15 * 60 * SECOND
MILLISECOND_DIGITS = 13
TIMESTAMP_DIGITS_MAX = 18
TOKENS_MAX = 1_000  # alive at once, per account
KEYS_MAX = 1_000  # alive at once, per account
AHEAD = SECOND // 10  # a clock may be so far ahead without costing a commit: no process restarts in less
SECRET_BYTES = 48  # a multiple of three: base64 without padding

Clock = Callable[[], int]  # nanoseconds since 1970


class Credential(Protocol):
    """What proves who asks: an API key, or the session of somebody who signed in (sessions.py).

    id: of the credential itself.  actor: what the log records.  ip_allow: networks it may come from, anywhere if there
    are none.  expires_at: nanoseconds.
    """

    @property
    def id(self) -> str: ...
    @property
    def actor(self) -> str: ...
    @property
    def account_id(self) -> AccountId: ...
    @property
    def scopes(self) -> frozenset[Scope]: ...
    @property
    def ip_allow(self) -> tuple[Network, ...]: ...
    @property
    def expires_at(self) -> Nanos | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as stored. Times in nanoseconds."""

    key: str
    secret: str
    account_id: AccountId
    scopes: frozenset[Scope]
    ip_allow: tuple[Network, ...]
    expires_at: Nanos | None
    created_at: Nanos
    created_by: str
    reason: str | None
    label: str | None = None

    @property
    def id(self) -> str:
        return self.key

    @property
    def actor(self) -> str:
        return self.key

    def shown(self) -> dict[str, Any]:
        """Return the key as its owner may see it again: without the secret."""
        return {
            "key": self.key,
            "account_id": self.account_id,
            "scopes": sorted(self.scopes),
            "ip_allow": [str(network) for network in self.ip_allow],
            "expires_at": time_or_none(self.expires_at),
            "created_at": time_text(self.created_at),
            "created_by": self.created_by,
            "reason": self.reason,
            "label": self.label,
        }


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request acts for, and by which credential. key: what the log records as the actor."""

    credential: Credential

    @property
    def account_id(self) -> AccountId:
        return self.credential.account_id

    @property
    def key(self) -> str:
        return self.credential.actor

    @property
    def scopes(self) -> frozenset[Scope]:
        return self.credential.scopes

    def require(self, scope: Scope) -> None:
        if scope not in self.scopes:
            raise AuthPermissionDenied(f"this needs the scope {scope}")


class LiveCredentials:
    """Every credential that was not revoked, by its id and by its account. Expired ones are as good as gone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all: dict[str, Credential] = {}
        self._of_account: defaultdict[AccountId, dict[str, Credential]] = defaultdict(dict)

    def add(self, credential: Credential) -> None:
        self._all[credential.id] = credential
        self._of_account[credential.account_id][credential.id] = credential

    def remove(self, credential_id: str) -> None:
        credential = self._all.pop(credential_id, None)
        if credential is not None:
            del self._of_account[credential.account_id][credential_id]

    def get(self, credential_id: str) -> Credential | None:
        credential = self._all.get(credential_id)
        return None if credential is None or _expired(credential, self._clock()) else credential

    def ids_of(self, kind: type) -> set[str]:
        return {credential_id for credential_id, each in self._all.items() if isinstance(each, kind)}

    def of_account(self, account_id: AccountId) -> list[Credential]:
        """Return them in the order in which they were made."""
        now = self._clock()
        return [each for each in self._of_account.get(account_id, {}).values() if not _expired(each, now)]


def rest_signature(secret: str, *, timestamp: str, method: str, path: str, body: bytes) -> str:
    """Return what X-API-Signature must be. path: with its query, as sent."""
    signed = "\n".join((timestamp, method, path, hashlib.sha256(body).hexdigest()))
    return _hmac(secret, signed)


def login_signature(secret: str, *, connection_id: str, challenge: str, key: str) -> str:
    """Return what `sig` of a WebSocket login must be."""
    return _hmac(secret, "\n".join(("ws-login", connection_id, challenge, key)))


def _hmac(secret: str, signed: str) -> str:
    return hmac.new(secret.encode(), signed.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()


def _equal(expected: str, given: str) -> bool:
    """Compare in constant time, whatever characters were given."""
    return hmac.compare_digest(expected.encode(), given.encode(errors="surrogateescape"))


class KeyRing:
    """All live keys, and every way to prove that one holds one. replays: where used signatures are remembered."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", *, clock: Clock, replays: Replays | None = None) -> None:
        self._pool = pool
        self._clock = clock
        self.live = LiveCredentials(clock)
        self._began = Nanos(clock())
        self._replays = LocalReplays() if replays is None else replays
        self._used_ahead: frozenset[str] = frozenset()  # before this process began
        self._tokens = Tokens()

    async def load(self) -> None:
        """Read all live keys. Call it before the first request."""
        query = "SELECT * FROM api_key WHERE revoked_at IS NULL ORDER BY created_at, key"
        for record in await self._pool.fetch(query):
            self.live.add(_api_key(record))
        oldest = moment_of(self._clock() - WINDOW)
        await self._pool.execute("DELETE FROM ahead_signature WHERE signed_at < $1", oldest)
        used = await self._pool.fetch("SELECT signature FROM ahead_signature")
        self._used_ahead = frozenset(record["signature"] for record in used)

    async def refresh(self, key: str) -> None:
        """Read one key again: another gateway changed it."""
        record = await self._pool.fetchrow("SELECT * FROM api_key WHERE key = $1 AND revoked_at IS NULL", key)
        if record is None:
            self.live.remove(key)
        else:
            self.live.add(_api_key(record))

    async def refresh_all(self) -> None:
        """Read every key that is known here or in the table."""
        stored = await self._pool.fetch("SELECT key FROM api_key WHERE revoked_at IS NULL")
        for key in {record["key"] for record in stored} | self.live.ids_of(ApiKey):
            await self.refresh(key)

    async def of_request(
        self, *, headers: Mapping[str, str], method: str, path: str, body: bytes, peer: str | None
    ) -> Principal:
        """Return who signed a REST request. path: with its query, as sent."""
        api_key = self.of_key(headers.get("X-API-Key"), peer)
        timestamp, given = headers.get("X-API-Timestamp", ""), headers.get("X-API-Signature", "")
        signed_at = self._signed_at(timestamp)
        if not _equal(rest_signature(api_key.secret, timestamp=timestamp, method=method, path=path, body=body), given):
            raise AuthInvalidSignature("the signature does not match")
        await self._use(given, signed_at)
        return Principal(api_key)

    def of_login(self, *, key: str, signature: str, connection_id: str, challenge: str, peer: str | None) -> Principal:
        """Return who answered a socket's challenge."""
        api_key = self.of_key(key, peer)
        expected = login_signature(api_key.secret, connection_id=connection_id, challenge=challenge, key=api_key.key)
        if not _equal(expected, signature):
            raise AuthInvalidSignature("the signature does not match", field="sig")
        return Principal(api_key)

    def new_token(self, principal: Principal) -> tuple[str, Nanos]:
        """Return a token that stands for `principal` on a socket, and when it ends."""
        return self._tokens.new(principal, now=self._clock())

    def of_token(self, token: str, *, peer: str | None) -> Principal:
        """Return who a token stands for. It ends with its key or its session."""
        credential = self.live.get(self._tokens.credential_of(token, now=self._clock()))
        if credential is None:
            raise AuthInvalidKey
        check_address(credential, peer)
        return Principal(credential)

    def of_account(self, account_id: AccountId) -> list[ApiKey]:
        """Return the account's keys in the order in which they were made."""
        return [each for each in self.live.of_account(account_id) if isinstance(each, ApiKey)]

    async def create(self, account_id: AccountId, wanted: NewApiKey, *, created_by: str) -> ApiKey:
        """Make a key. Its secret is to be shown once. Raises InvalidArguments for one that would be dead at once."""
        now = Nanos(self._clock())
        if wanted.expires_at is not None and wanted.expires_at <= now:
            raise InvalidArguments("expires_at: must be in the future", field="expires_at")
        if len(self.of_account(account_id)) >= KEYS_MAX:
            raise RateLimited(f"an account has at most {KEYS_MAX} keys", prefix="EAPI", rule="max_keys")
        api_key = ApiKey(
            key=f"ak_{secrets.token_hex(12)}",
            secret=base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode(),
            account_id=account_id,
            scopes=frozenset(wanted.scopes),
            ip_allow=tuple(network_of(text) for text in wanted.ip_allow),
            expires_at=wanted.expires_at,
            created_at=now,
            created_by=created_by,
            reason=wanted.reason,
            label=wanted.label,
        )
        await self._pool.execute(
            "INSERT INTO api_key "
            "(key, account_id, secret, scopes, ip_allow, expires_at, created_at, created_by, reason, label) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            api_key.key,
            account_id,
            api_key.secret,
            sorted(api_key.scopes),
            [str(network) for network in api_key.ip_allow],
            None if api_key.expires_at is None else moment_of(api_key.expires_at),
            moment_of(api_key.created_at),
            created_by,
            api_key.reason,
            api_key.label,
        )
        self.live.add(api_key)
        return api_key

    async def create_own(self, owner: Principal, wanted: NewApiKey) -> ApiKey:
        """Make a key for one's own account. It can't do more than who asks, nor from elsewhere; nor longer than a key.

        A session ends every day, so a key that was made in one outlives it.
        """
        own = owner.credential
        if not own.scopes.issuperset(wanted.scopes):
            raise AuthPermissionDenied("a key can only pass on scopes that it has")
        networks = [network_of(text) for text in wanted.ip_allow]
        if own.ip_allow and not all(is_within(network, own.ip_allow) for network in networks):
            raise AuthPermissionDenied("a key can only pass on addresses that it is allowed")
        ends_at = own.expires_at if isinstance(own, ApiKey) else None
        if ends_at is not None and (wanted.expires_at is None or wanted.expires_at > ends_at):
            wanted = wanted.model_copy(update={"expires_at": ends_at})
        if own.ip_allow and not networks:
            wanted = wanted.model_copy(update={"ip_allow": [str(network) for network in own.ip_allow]})
        return await self.create(own.account_id, wanted, created_by=own.actor)

    async def revoke(self, key: str) -> None:
        """End a key for good. Sockets that used it find out at their next request, or are closed within a second."""
        await self._pool.execute(
            "UPDATE api_key SET revoked_at = $2 WHERE key = $1 AND revoked_at IS NULL",
            key,
            moment_of(self._clock()),
        )
        self.live.remove(key)

    def is_live(self, principal: Principal) -> bool:
        """Whether what proved itself earlier has not been revoked and has not expired since."""
        return self.live.get(principal.credential.id) is not None

    def of_key(self, key: str | None, peer: str | None) -> ApiKey:
        """Return a live key, used from where it may be. That the caller holds its secret is still to be proved."""
        if not key:
            raise AuthRequired
        api_key = self.live.get(key)
        if not isinstance(api_key, ApiKey):
            raise AuthInvalidKey
        check_address(api_key, peer)
        return api_key

    async def _use(self, signature: str, signed_at: Nanos) -> None:
        """Raises AuthInvalidSignature if it was used before, by this process or one before it."""
        now = self._clock()
        await self._replays.use(signature, now=now)
        is_new = signature not in self._used_ahead
        if is_new and signed_at > now + AHEAD:
            insert = "INSERT INTO ahead_signature VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING signature"
            is_new = await self._pool.fetchval(insert, signature, moment_of(signed_at)) is not None
        if not is_new:
            raise AuthInvalidSignature("this signature was used before")

    def _signed_at(self, text: str) -> Nanos:
        """Return what a timestamp says: microseconds, or milliseconds if it has 13 digits.

        Raises AuthTimestamp for one that is outside the window.
        """
        if not (text.isascii() and text.isdigit() and len(text) <= TIMESTAMP_DIGITS_MAX):
            raise AuthTimestamp("X-API-Timestamp must be microseconds since 1970")
        signed_at = Nanos(int(text) * (1_000_000 if len(text) == MILLISECOND_DIGITS else 1_000))
        now = self._clock()
        if abs(signed_at - now) > WINDOW or signed_at < self._began:
            raise AuthTimestamp("the timestamp is outside the window", skew_ms=(signed_at - now) // 1_000_000)
        return signed_at


class Tokens:
    """Short-lived stand-ins for a credential. An account's oldest goes when it has too many."""

    def __init__(self) -> None:
        self._of_token: dict[str, tuple[str, int]] = {}  # token: (id of the credential, when it ends)
        self._of_account: dict[AccountId, deque[str]] = {}

    def new(self, principal: Principal, *, now: int) -> tuple[str, Nanos]:
        tokens = self._of_account.setdefault(principal.account_id, deque())
        while tokens and (len(tokens) >= TOKENS_MAX or self._of_token[tokens[0]][1] <= now):
            del self._of_token[tokens.popleft()]
        token, ends_at = secrets.token_urlsafe(32), Nanos(now + TOKEN_LIFE)
        tokens.append(token)
        self._of_token[token] = (principal.credential.id, ends_at)
        return token, ends_at

    def credential_of(self, token: str, *, now: int) -> str:
        """Return the id of the credential that a token stands for. Raises AuthInvalidKey."""
        credential_id, ends_at = self._of_token.get(token, ("", 0))
        if ends_at <= now:
            raise AuthInvalidKey("the token is unknown or has expired", field="token")
        return credential_id


def network_of(text: str) -> Network:
    """Return an address or network in CIDR notation. Raises InvalidArguments."""
    try:
        return ip_network(text)
    except ValueError as e:
        raise InvalidArguments(f"ip_allow: {e}", field="ip_allow") from e


def check_address(credential: Credential, peer: str | None) -> None:
    """Raises AuthPermissionDenied for a credential that is not used from where it may be."""
    if credential.ip_allow and not is_in(credential.ip_allow, address_of(peer or "")):
        log.warning("address_refused actor=%s address=%s", credential.actor, peer)
        raise AuthPermissionDenied("this may not be used from this address")


def _expired(credential: Credential, now: int) -> bool:
    return credential.expires_at is not None and credential.expires_at <= now


def _api_key(record: asyncpg.Record) -> ApiKey:
    return ApiKey(
        key=record["key"],
        secret=record["secret"],
        account_id=AccountId(record["account_id"]),
        scopes=frozenset(Scope(scope) for scope in record["scopes"]),
        ip_allow=tuple(network_of(text) for text in record["ip_allow"]),
        expires_at=None if record["expires_at"] is None else nanos_of(record["expires_at"]),
        created_at=nanos_of(record["created_at"]),
        created_by=record["created_by"],
        reason=record["reason"],
        label=record["label"],
    )


def moment_of(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at // 1_000)


def nanos_of(moment: datetime) -> Nanos:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return Nanos((since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1_000)
