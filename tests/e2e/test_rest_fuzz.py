"""Nothing that a client can send is answered with a failure of ours: nasty values in every field and parameter."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from gateway.errors import ANSWERS
from gateway.rest.routes import ROUTES
from tests.e2e.rest import Json, Market, order
from tests.e2e.test_rest_admin import DEPOSIT, LOAN

CODES = {answer.code for answer in ANSWERS.values()}
NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 2**53, 2**63, 10**300, 0.1, 1e-300, "", " ", "0", "-1", "1e5", "NaN", "x" * 70_000,
    "é", "\u202e", "\0", "\ud800", "٣", "2024-02-30", "9999-12-31", "0000-00-00", "9999-12-31T23:59:59Z",
    "1'; DROP TABLE x;--", [], [[]], {}, {"a": 1}, [1] * 100, "%00", "../..", "O-1", "T-1", "L1", "B", "ORIG", "buy",
]  # fmt: skip
BODIES: dict[tuple[str, str], Json] = {
    ("POST", "/v1/orders"): order(
        order_type="limit", time_in_force="gtc", expire_time=None, post_only=False, min_qty=None, display_qty=None,
        stp_type="cancel_newest", cancel_on_disconnect=False, deadline=None, tag=None, cl_ord_id=None,
    ),
    ("PATCH", "/v1/orders/O-1"): {"order_qty": "1.00", "limit_price": "97.00", "if_version": 1, "deadline": None},
    ("POST", "/v1/orders/batch"): {"orders": [order()]},
    ("POST", "/v1/orders/cancel-all"): {"loan_id": "L1", "side": "buy", "session": "s", "tag": "t"},
    ("POST", "/v1/api-keys"): {"scopes": ["read"], "ip_allow": [], "expires_at": None, "reason": None},
    ("POST", "/v1/admin/accounts"): {"account_id": "X", "kind": "investor", "name": "", "owner_group": None,
                                     "risk_class": None, "reason": None},
    ("POST", "/v1/admin/accounts/B/api-keys"): {"scopes": ["read"], "ip_allow": [], "expires_at": None},
    ("POST", "/v1/admin/accounts/X/freeze"): {"reason": None},
    ("POST", "/v1/admin/deposits"): DEPOSIT,
    ("POST", "/v1/admin/withdrawals"): {**DEPOSIT, "custody_ref": "bank-2"},
    ("POST", "/v1/admin/loans"): LOAN,
    ("POST", "/v1/admin/loans/L1/issue"): {"face": "0.01", "reason": None},
    ("POST", "/v1/admin/loans/L2/halt"): {"reason": None},
    ("POST", "/v1/admin/servicing"): {
        "event_id": "s", "loan_id": "L1", "type": "payment", "value_date": "2024-01-15", "amount": "1.00",
        "principal": None, "interest": None, "costs": None, "schedule": None, "reason": None,
    },
    ("POST", "/v1/admin/mode"): {"mode": "open", "reason": None},
    ("POST", "/v1/admin/day-roll"): {"to": "2024-01-14", "reason": None},
}  # fmt: skip


def who(market: Market, path: str) -> Any:
    return market.admin if path.startswith("/v1/admin") else market.buyer


@pytest.mark.parametrize("route", BODIES, ids=" ".join)
async def test_no_field_of_a_body_breaks_us(market: Market, route: tuple[str, str]) -> None:
    method, path = route
    for field in BODIES[route]:
        for value in NASTY:
            data = json.dumps({**BODIES[route], field: value}).encode()
            told = await who(market, path).call(method, path, data)
            assert told.status < 500, (field, value, told.body)
            assert told.status < 400 or told.code in CODES, (field, value, told.body)
    market.stack.engine._venue.state.check_invariants()
    assert (await market.anyone.get("/readyz")).status == 200


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.method in ("GET", "DELETE")],
    ids=lambda route: f"{route.method} {route.path}",
)
async def test_no_parameter_or_path_breaks_us(market: Market, route: Any) -> None:
    texts = [value for value in NASTY if isinstance(value, str) and value.isprintable() and len(value) < 100]
    path = route.path
    for name in ("loan_id", "order_id", "account_id", "key", "cid"):
        path = path.replace(f"{{{name}}}", "{}")
    targets = [path.replace("{}", "L1") + f"?{name}={quote(text)}" for name in sorted(route.params) for text in texts]
    if "{}" in path:
        targets += [path.replace("{}", quote(text, safe="")) for text in texts if text] + [path.replace("{}", "%00%ff")]
    for target in targets:
        told = await who(market, path).call(route.method, target)
        assert told.status < 500, (target, told.body)
        assert told.status < 400 or told.code in CODES, (target, told.body)
