"""Who is asking, and may he: API keys, request signatures, socket logins, tokens, scopes.

Keys live in the database and, all of them, in memory; a change is durable before it is known here. A request's
signature is good once (replays.py), and what was signed before this process began is refused, so that a restart forgets
nothing.
"""

import base64
import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import asyncpg

from gateway.errors import (
    AuthInvalidKey,
    AuthInvalidSignature,
    AuthPermissionDenied,
    AuthRequired,
    AuthTimestamp,
    RateLimited,
)
from gateway.replays import WINDOW, LocalReplays, Replays
from gateway.requests import NewApiKey, Scope
from gateway.wire import SECOND, time_or_none, time_text
from market.errors import InvalidArguments
from market.ids import AccountId, Nanos

TOKEN_LIFE = 15 * 60 * SECOND
MILLISECOND_DIGITS = 13
TIMESTAMP_DIGITS_MAX = 18
TOKENS_MAX = 1_000  # alive at once, per account
KEYS_MAX = 1_000  # alive at once, per account
SECRET_BYTES = 48  # a multiple of three: base64 without padding

Network = IPv4Network | IPv6Network
Clock = Callable[[], int]  # nanoseconds since 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as stored. ip_allow: networks it may come from, anywhere if there are none.  Times in nanoseconds."""

    key: str
    secret: str
    account_id: AccountId
    scopes: frozenset[Scope]
    ip_allow: tuple[Network, ...]
    expires_at: Nanos | None
    created_at: Nanos
    created_by: str
    reason: str | None

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
        }


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request acts for, and by which key. The key's id is what the log records as the actor."""

    api_key: ApiKey

    @property
    def account_id(self) -> AccountId:
        return self.api_key.account_id

    @property
    def key(self) -> str:
        return self.api_key.key

    @property
    def scopes(self) -> frozenset[Scope]:
        return self.api_key.scopes

    def require(self, scope: Scope) -> None:
        if scope not in self.scopes:
            raise AuthPermissionDenied(f"this key has no scope {scope}")


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
        self._keys: dict[str, ApiKey] = {}
        self._began = Nanos(clock())
        self._replays = LocalReplays() if replays is None else replays
        self._tokens = Tokens()

    async def load(self) -> None:
        """Read all live keys. Call it before the first request."""
        records = await self._pool.fetch("SELECT * FROM market.api_key WHERE revoked_at IS NULL")
        self._keys = {record["key"]: _api_key(record) for record in records}

    async def of_request(
        self, *, headers: Mapping[str, str], method: str, path: str, body: bytes, peer: str | None
    ) -> Principal:
        """Return who signed a REST request. path: with its query, as sent."""
        principal = self._principal(headers.get("X-API-Key"), peer)
        timestamp, given = headers.get("X-API-Timestamp", ""), headers.get("X-API-Signature", "")
        self._check_timestamp(timestamp)
        secret = principal.api_key.secret
        if not _equal(rest_signature(secret, timestamp=timestamp, method=method, path=path, body=body), given):
            raise AuthInvalidSignature("the signature does not match")
        await self._replays.use(given, now=self._clock())
        return principal

    def of_login(self, *, key: str, signature: str, connection_id: str, challenge: str, peer: str | None) -> Principal:
        """Return who answered a socket's challenge."""
        principal = self._principal(key, peer)
        expected = login_signature(
            principal.api_key.secret, connection_id=connection_id, challenge=challenge, key=principal.key
        )
        if not _equal(expected, signature):
            raise AuthInvalidSignature("the signature does not match", field="sig")
        return principal

    def of_key(self, key: str | None, peer: str | None) -> Principal:
        """Return whom a key stands for. That the caller holds its secret is still to be proved."""
        return self._principal(key, peer)

    def new_token(self, principal: Principal) -> tuple[str, Nanos]:
        """Return a token that stands for `principal` on a socket, and when it ends."""
        return self._tokens.new(principal, now=self._clock())

    def of_token(self, token: str, *, peer: str | None) -> Principal:
        """Return who a token stands for. It ends with its key."""
        return self._principal(self._tokens.key_of(token, now=self._clock()), peer)

    def of_account(self, account_id: AccountId) -> list[ApiKey]:
        now = self._clock()
        return [key for key in self._keys.values() if key.account_id == account_id and not _expired(key, now)]

    async def create(self, account_id: AccountId, wanted: NewApiKey, *, created_by: str) -> ApiKey:
        """Make a key. Its secret is to be shown once."""
        if len(self.of_account(account_id)) >= KEYS_MAX:
            raise RateLimited(f"an account has at most {KEYS_MAX} keys", prefix="EAPI")
        api_key = ApiKey(
            key=f"ak_{secrets.token_hex(12)}",
            secret=base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode(),
            account_id=account_id,
            scopes=frozenset(wanted.scopes),
            ip_allow=tuple(network_of(text) for text in wanted.ip_allow),
            expires_at=wanted.expires_at,
            created_at=Nanos(self._clock()),
            created_by=created_by,
            reason=wanted.reason,
        )
        await self._pool.execute(
            "INSERT INTO market.api_key "
            "(key, account_id, secret, scopes, ip_allow, expires_at, created_at, created_by, reason) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            api_key.key,
            account_id,
            api_key.secret,
            sorted(api_key.scopes),
            [str(network) for network in api_key.ip_allow],
            None if api_key.expires_at is None else _moment(api_key.expires_at),
            _moment(api_key.created_at),
            created_by,
            api_key.reason,
        )
        self._keys[api_key.key] = api_key
        return api_key

    async def create_own(self, owner: Principal, wanted: NewApiKey) -> ApiKey:
        """Make a key for one's own account. It can't do more than the key that asks, nor from elsewhere, nor longer."""
        own = owner.api_key
        if not own.scopes.issuperset(wanted.scopes):
            raise AuthPermissionDenied("a key can only pass on scopes that it has")
        networks = [network_of(text) for text in wanted.ip_allow]
        if own.ip_allow and not all(_within(network, own.ip_allow) for network in networks):
            raise AuthPermissionDenied("a key can only pass on addresses that it is allowed")
        if own.expires_at is not None and (wanted.expires_at is None or wanted.expires_at > own.expires_at):
            wanted = wanted.model_copy(update={"expires_at": own.expires_at})
        if own.ip_allow and not networks:
            wanted = wanted.model_copy(update={"ip_allow": [str(network) for network in own.ip_allow]})
        return await self.create(own.account_id, wanted, created_by=own.key)

    async def revoke(self, key: str) -> None:
        """End a key for good. Sockets that logged in with it find out at their next request."""
        await self._pool.execute(
            "UPDATE market.api_key SET revoked_at = $2 WHERE key = $1 AND revoked_at IS NULL",
            key,
            _moment(self._clock()),
        )
        self._keys.pop(key, None)

    def is_live(self, principal: Principal) -> bool:
        """Whether the key that proved itself earlier has not been revoked and has not expired since."""
        api_key = self._keys.get(principal.key)
        return api_key is not None and not _expired(api_key, self._clock())

    def _principal(self, key: str | None, peer: str | None) -> Principal:
        if not key:
            raise AuthRequired
        api_key = self._keys.get(key)
        if api_key is None or _expired(api_key, self._clock()):
            raise AuthInvalidKey
        if api_key.ip_allow and not _allowed(api_key.ip_allow, peer):
            raise AuthPermissionDenied("this key may not be used from this address")
        return Principal(api_key)

    def _check_timestamp(self, text: str) -> None:
        """Raises AuthTimestamp unless it is inside the window. Microseconds, or milliseconds if it has 13 digits."""
        if not (text.isascii() and text.isdigit() and len(text) <= TIMESTAMP_DIGITS_MAX):
            raise AuthTimestamp("X-API-Timestamp must be microseconds since 1970")
        signed_at = Nanos(int(text) * (1_000_000 if len(text) == MILLISECOND_DIGITS else 1_000))
        now = self._clock()
        if abs(signed_at - now) > WINDOW or signed_at < self._began:
            raise AuthTimestamp("the timestamp is outside the window", skew_ms=(signed_at - now) // 1_000_000)


class Tokens:
    """Short-lived stand-ins for a key. An account's oldest goes when it has too many."""

    def __init__(self) -> None:
        self._of_token: dict[str, tuple[str, int]] = {}  # token: (key, when it ends)
        self._of_account: dict[AccountId, deque[str]] = {}

    def new(self, principal: Principal, *, now: int) -> tuple[str, Nanos]:
        tokens = self._of_account.setdefault(principal.account_id, deque())
        while tokens and (len(tokens) >= TOKENS_MAX or self._of_token[tokens[0]][1] <= now):
            del self._of_token[tokens.popleft()]
        token, ends_at = secrets.token_urlsafe(32), Nanos(now + TOKEN_LIFE)
        tokens.append(token)
        self._of_token[token] = (principal.key, ends_at)
        return token, ends_at

    def key_of(self, token: str, *, now: int) -> str:
        """Return the key that a token stands for. Raises AuthInvalidKey."""
        key, ends_at = self._of_token.get(token, ("", 0))
        if ends_at <= now:
            raise AuthInvalidKey("the token is unknown or has expired", field="token")
        return key


def network_of(text: str) -> Network:
    """Return an address or network in CIDR notation. Raises InvalidArguments."""
    try:
        return ip_network(text)
    except ValueError as e:
        raise InvalidArguments(f"ip_allow: {e}", field="ip_allow") from e


def _within(inner: Network, outers: Collection[Network]) -> bool:
    return any(inner.version == outer.version and inner.subnet_of(outer) for outer in outers)  # type: ignore[arg-type]


def _allowed(networks: Collection[Network], peer: str | None) -> bool:
    try:
        address: IPv4Address | IPv6Address = ip_address((peer or "").partition("%")[0])
    except ValueError:
        return False  # a Unix socket has no address
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def _expired(api_key: ApiKey, now: int) -> bool:
    return api_key.expires_at is not None and api_key.expires_at <= now


def _api_key(record: asyncpg.Record) -> ApiKey:
    return ApiKey(
        key=record["key"],
        secret=record["secret"],
        account_id=AccountId(record["account_id"]),
        scopes=frozenset(Scope(scope) for scope in record["scopes"]),
        ip_allow=tuple(network_of(text) for text in record["ip_allow"]),
        expires_at=None if record["expires_at"] is None else _nanos(record["expires_at"]),
        created_at=_nanos(record["created_at"]),
        created_by=record["created_by"],
        reason=record["reason"],
    )


def _moment(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at // 1_000)


def _nanos(moment: datetime) -> Nanos:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return Nanos((since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1_000)
