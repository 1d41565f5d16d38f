"""Signatures as the contract defines them, replays, tokens; and that every route says who may call it."""

import hashlib
import hmac

import pytest

from gateway.access.auth import (
    TOKEN_LIFE,
    TOKENS_MAX,
    ApiKey,
    Principal,
    Tokens,
    login_signature,
    network_of,
    rest_signature,
)
from gateway.errors import AuthInvalidKey, AuthPermissionDenied
from gateway.requests.access import Scope
from gateway.rest.api import Access
from gateway.rest.routes import ROUTES
from market.errors import InvalidArguments
from market.ids import AccountId, Nanos

SECRET = "c2VjcmV0IGJ5dGVz"


def principal(*scopes: Scope) -> Principal:
    return Principal(
        ApiKey(
            key="ak_1",
            secret=SECRET,
            account_id=AccountId("A"),
            scopes=frozenset(scopes),
            ip_allow=(),
            expires_at=None,
            created_at=Nanos(0),
            created_by="test",
            reason=None,
        )
    )


def test_a_request_is_signed_as_the_contract_says() -> None:
    """The key is the secret's text as given, not what it decodes to; no body is the hash of no bytes."""
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    signed = f"1714564800000000\nGET\n/v1/orders?status=all\n{nothing}".encode()
    expected = hmac.new(b"c2VjcmV0IGJ5dGVz", signed, hashlib.sha256).hexdigest()
    given = rest_signature(SECRET, timestamp="1714564800000000", method="GET", path="/v1/orders?status=all", body=b"")
    assert given == expected


def test_a_login_is_signed_as_the_contract_says() -> None:
    expected = hmac.new(b"c2VjcmV0IGJ5dGVz", b"ws-login\nc-7f3\nxyz\nak_1", hashlib.sha256).hexdigest()
    assert login_signature(SECRET, connection_id="c-7f3", challenge="xyz", key="ak_1") == expected


def test_a_token_lives_a_quarter_of_an_hour() -> None:
    tokens = Tokens()
    token, ends_at = tokens.new(principal(), now=7)
    assert ends_at == 7 + TOKEN_LIFE == 7 + 900 * 10**9
    assert tokens.credential_of(token, now=ends_at - 1) == "ak_1"
    for unknown, at in ((token, ends_at), ("", 0), ("x", 0)):
        with pytest.raises(AuthInvalidKey):
            tokens.credential_of(unknown, now=at)


def test_an_accounts_tokens_are_bounded() -> None:
    tokens = Tokens()
    first, _ = tokens.new(principal(), now=0)
    for _ in range(TOKENS_MAX):
        tokens.new(principal(), now=1)
    with pytest.raises(AuthInvalidKey):
        tokens.credential_of(first, now=2)
    assert len(tokens._of_token) == TOKENS_MAX
    tokens.new(principal(), now=2 * TOKEN_LIFE)
    assert len(tokens._of_token) == 1


def test_a_scope_is_required_by_name() -> None:
    principal(Scope.READ).require(Scope.READ)
    with pytest.raises(AuthPermissionDenied):
        principal(Scope.ADMIN).require(Scope.TRADE)


def test_networks_are_read_strictly() -> None:
    assert str(network_of("10.0.0.1")) == "10.0.0.1/32"
    for bad in ("10.0.0.1/8", "localhost", ""):
        with pytest.raises(InvalidArguments):
            network_of(bad)


PUBLIC = [
    "/docs",
    "/docs/docs.css",
    "/docs/docs.js",
    "/healthz",
    "/openapi.json",
    "/asyncapi.json",
    "/readyz",
    "/v1/audit",
    "/v1/currencies",
    "/v1/fees",
    "/v1/limits",
    "/v1/loans",
    "/v1/loans/facets",
    "/v1/loans/map",
    "/v1/loans/order",
    "/v1/loans/{loan_id}",
    "/v1/loans/{loan_id}/assignments",
    "/v1/loans/{loan_id}/book",
    "/v1/loans/{loan_id}/candles",
    "/v1/loans/{loan_id}/schedule",
    "/v1/loans/{loan_id}/payments",
    "/v1/loans/{loan_id}/quote",
    "/v1/loans/{loan_id}/statistics",
    "/v1/loans/{loan_id}/trades",
    "/v1/rulebooks",
    "/v1/rulebooks/{name}",
    "/v1/session",  # signing in
    "/v1/statistics",
    "/v1/status",
    "/v1/time",
    "/v1/users",  # signing up
]


def test_every_route_says_who_may_call_it() -> None:
    assert all(isinstance(route.access, Access) for route in ROUTES)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert sorted(route.path for route in ROUTES if route.access is Access.PUBLIC) == sorted(PUBLIC)


def test_only_reads_are_public_and_all_of_admin_is_the_operators() -> None:
    for route in ROUTES:
        assert (route.access is Access.ADMIN) == route.path.startswith("/v1/admin/")
        if route.access is Access.PUBLIC:
            assert route.method == "GET" or route.path in ("/v1/users", "/v1/session")
        if route.path.startswith("/v1/orders"):
            assert route.access is (Access.READ if route.method == "GET" else Access.TRADE)
