"""The façade's signature, its words for refusals, and who may make which call."""

import pytest

from gateway.errors import ANSWERS
from gateway.facade.calls import FacadeRoute
from gateway.facade.proof import InvalidNonce, facade_signature
from gateway.facade.routes import ROUTES
from gateway.facade.rows import userref_of
from gateway.facade.words import KNOWN, error_texts
from gateway.requests.access import Scope
from market.errors import InsufficientFunds, InvalidArguments, MarketError, UnknownLoan

TRADING = {"AddOrder", "AddOrderBatch", "AmendOrder", "CancelAll", "CancelAllOrdersAfter"} | {
    "CancelOrder",
    "CancelOrderBatch",
    "EditOrder",
}


def test_the_signature_is_the_one_that_clients_make() -> None:
    """The worked example that the protocol's family publishes for its clients."""
    secret = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
    body = b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    assert facade_signature(secret, path="/0/private/AddOrder", nonce="1616492376594", body=body) == (
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    )


def test_every_call_says_who_may_make_it() -> None:
    assert len({route.path for route in ROUTES}) == len(ROUTES)
    scopes = {route.name: route.scope for route in ROUTES}
    assert {name for name, scope in scopes.items() if scope is Scope.TRADE} == TRADING
    assert {name for name, scope in scopes.items() if scope is None} == {
        *("Time", "SystemStatus", "Assets", "AssetPairs", "Ticker", "Depth", "Trades", "OHLC", "Spread"),
    }
    assert {scope for scope in scopes.values() if scope is not None} == {Scope.TRADE, Scope.READ}


@pytest.mark.parametrize("route", [route for route in ROUTES if route.scope is not None], ids=lambda r: r.name)
def test_every_private_call_draws_on_a_bucket(route: FacadeRoute) -> None:
    assert route.bucket is not None
    assert route.path == f"/0/private/{route.name}"


@pytest.mark.parametrize("error_class", ANSWERS, ids=lambda c: c.__name__)
def test_every_refusal_has_words(error_class: type[MarketError]) -> None:
    texts = error_texts(error_class("why"))
    assert all(text.startswith("E") and ":" in text for text in texts)
    assert texts[-1].startswith(ANSWERS[error_class].text.partition("{")[0])
    assert set(KNOWN) - {InvalidNonce} <= set(ANSWERS)


def test_known_words_come_first_and_name_the_callers_field() -> None:
    assert error_texts(UnknownLoan("?")) == ["EQuery:Unknown asset pair", "ELoan:Unknown"]
    assert error_texts(InvalidArguments("?", field="order_qty"))[0] == "EGeneral:Invalid arguments:volume"
    assert error_texts(InsufficientFunds("?"))[0] == "EOrder:Insufficient funds"
    assert error_texts(InvalidNonce("?")) == ["EAPI:Invalid nonce"]


@pytest.mark.parametrize(("tag", "number"), [("7", 7), (None, None), ("", None), ("a7", None), ("٧", None)])
def test_a_tag_that_is_a_number_is_a_userref(tag: str | None, number: int | None) -> None:
    assert userref_of(tag) == number
