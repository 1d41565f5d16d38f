"""Requests: strict in form, and silent about what only the venue may judge."""

from typing import Any

import pytest

from gateway.errors import UnknownField
from gateway.requests.loans import NewLoan
from gateway.requests.orders import AmendParams, CancelAllParams, RestOrder, cancel_command
from gateway.wire import LARGEST, parse_json, parse_time
from market.commands import PlaceOrder
from market.errors import InvalidArguments, UnknownOrder
from market.ids import AccountId, ClientOrderId, LoanId, Nanos
from market.orderbook.order import OrderType, SelfTradePrevention, Side, TimeInForce

NOW = Nanos(1_714_564_800_000_000_000)  # 2024-05-01T12:00:00Z
FULL: dict[str, Any] = {
    "loan_id": "L1",
    "side": "sell",
    "order_type": "limit",
    "limit_price": "98.75",
    "order_qty": "5000.00",
    "time_in_force": "gtd",
    "expire_time": "2024-05-01T12:00:01Z",
    "post_only": True,
    "min_qty": "1.00",
    "display_qty": "10.00",
    "stp_type": "decrement",
    "cancel_on_disconnect": True,
    "cancel_on_payment": True,
    "cancel_on_reschedule": True,
    "deadline": "2024-05-01T12:00:00.000001Z",
    "tag": "t",
    "cl_ord_id": "mm1-42",
    "validate": False,
    "peg": None,
}


def command_of(**changed: Any) -> PlaceOrder:
    body = {"loan_id": "L1", "side": "buy", "limit_price": "98.00", "order_qty": "1.00", **changed}
    return RestOrder.parse({name: value for name, value in body.items() if value is not ...}).to_command(
        AccountId("A"), LoanId("L1"), now=NOW
    )


def test_every_field_reaches_the_command() -> None:
    command = RestOrder.parse(FULL).to_command(AccountId("A"), LoanId("L1"), now=NOW, session="mm-1")
    assert command == PlaceOrder(
        account_id=AccountId("A"),
        loan_id=LoanId("L1"),
        side=Side.SELL,
        quantity=500_000,  # type: ignore[arg-type]
        order_type=OrderType.LIMIT,
        price=9_875,  # type: ignore[arg-type]
        time_in_force=TimeInForce.GTD,
        expire_at=parse_time("2024-05-01T12:00:01Z"),
        post_only=True,
        min_quantity=100,  # type: ignore[arg-type]
        display_quantity=1_000,  # type: ignore[arg-type]
        stp=SelfTradePrevention.DECREMENT,
        cancel_on_disconnect=True,
        cancel_on_payment=True,
        cancel_on_reschedule=True,
        client_order_id=ClientOrderId("mm1-42"),
        session="mm-1",
        tag="t",
        deadline=parse_time("2024-05-01T12:00:00.000001Z"),
    )


def test_a_market_order_is_immediate() -> None:
    assert command_of(order_type="market", limit_price=...).time_in_force is TimeInForce.IOC
    assert command_of().time_in_force is TimeInForce.GTC


@pytest.mark.parametrize(
    ("price", "passed_on"), [("98.005", 0), ("0", 0), ("-1", -100), ("98.000", 9_800), ("1" * 30, LARGEST)]
)
def test_a_price_off_every_tick_is_left_to_the_venue(price: str, passed_on: int) -> None:
    assert command_of(limit_price=price).price == passed_on


@pytest.mark.parametrize(
    ("quantity", "passed_on"),
    [
        ("1.001", 0),
        ("0", 0),
        ("-1", -100),
        ("1" * 30, 0),
        ("1", 100),
        ("703687441776.64", 2**46),
        ("703687441776.65", 0),
    ],
)
def test_a_quantity_that_is_none_is_left_to_the_venue(quantity: str, passed_on: int) -> None:
    assert command_of(order_qty=quantity).quantity == passed_on


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"order_qty": ...}, "order_qty", id="missing"),
        pytest.param({"order_qty": None}, "order_qty", id="null"),
        pytest.param({"limit_price": ...}, "limit_price", id="limit without a price"),
        pytest.param({"order_type": "market"}, "limit_price", id="market with a price"),
        pytest.param(
            {"order_type": "market", "limit_price": ..., "time_in_force": "gtc"}, "time_in_force", id="gtc market"
        ),
        pytest.param({"time_in_force": "gtd"}, "expire_time", id="gtd without its time"),
        pytest.param({"expire_time": "2024-05-02T00:00:00Z"}, "expire_time", id="gtc with a time"),
        pytest.param({"time_in_force": "gtd", "expire_time": "2024-05-01T12:00:00Z"}, "expire_time", id="expired"),
        pytest.param({"time_in_force": "gtd", "expire_time": "soon"}, "expire_time", id="no time"),
        pytest.param({"time_in_force": "fok", "post_only": True}, "post_only", id="post-only that never rests"),
        pytest.param({"time_in_force": "ioc", "display_qty": "1.00"}, "display_qty", id="iceberg that never rests"),
        pytest.param({"tag": ""}, "tag", id="empty tag"),
        pytest.param({"tag": "x" * 65}, "tag", id="long tag"),
        pytest.param({"cl_ord_id": ""}, "cl_ord_id", id="empty client order id"),
        pytest.param({"cl_ord_id": "a\n"}, "cl_ord_id", id="client order id with a line feed"),
        pytest.param({"cl_ord_id": "ä"}, "cl_ord_id", id="client order id that is not ASCII"),
        pytest.param({"post_only": 1}, "post_only", id="number as flag"),
        pytest.param({"side": "Buy"}, "side", id="capital letter"),
        pytest.param({"side": ["buy"]}, "side", id="list"),
        pytest.param({"peg": "yield"}, "peg", id="peg of a limit order"),
        pytest.param({"limit_yield": "0.12"}, "limit_yield", id="yield of a limit order"),
        pytest.param({"validate": 1}, "validate", id="validate is no flag"),
        pytest.param({"if_book_seq": -1}, "if_book_seq", id="negative if_book_seq"),
    ],
)
def test_what_is_wrong_in_form_is_refused_by_name(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        command_of(**change)
    assert caught.value.field == field


def test_an_unknown_field_comes_before_a_missing_one() -> None:
    with pytest.raises(UnknownField) as caught:
        RestOrder.parse({"qty": "1.00"})
    assert caught.value.field == "qty"


def test_the_name_in_an_answer_is_short_and_printable() -> None:
    with pytest.raises(UnknownField) as caught:
        RestOrder.parse({"x" * 10_000: 1})
    assert len(caught.value.field or "") == 64


def test_a_deadline_is_for_the_venue_to_judge() -> None:
    """A repeat of an order that was placed in time has its first answer, however late it comes."""
    passed = parse_time("2024-05-01T11:00:00Z")
    assert command_of(deadline="2024-05-01T11:00:00Z").deadline == passed
    body = {"order_qty": "1.00", "deadline": "2024-05-01T11:00:00Z"}
    assert AmendParams.parse(body).to_command(AccountId("A")).deadline == passed


def test_an_amend_must_change_something() -> None:
    with pytest.raises(InvalidArguments):
        AmendParams.parse({"if_version": 1}).to_command(AccountId("A"))
    for bad in (-1, 2**31, 1.5, "1", True):
        with pytest.raises(InvalidArguments):
            AmendParams.parse({"order_qty": "1.00", "if_version": bad})


def test_an_id_that_is_no_orders_is_an_unknown_order() -> None:
    with pytest.raises(UnknownOrder):
        cancel_command(AccountId("A"), "17")
    assert cancel_command(AccountId("A"), "O-17").order_id == 17


def test_cancel_all_takes_its_filters() -> None:
    command = CancelAllParams.parse({"side": "buy", "tag": "t", "session": "s"}).to_command(AccountId("A"), None)
    assert (command.side, command.tag, command.session, command.loan_id) == (Side.BUY, "t", "s", None)


def test_a_loan_is_whole_unless_it_says_otherwise() -> None:
    body = parse_json(
        b'{"loan_id":"L1","originator":"O","currency":"USD","original_principal":100,"annual_rate":0.1407,'
        b'"repayment_method":"bullet","term_months":12,"issue_date":"2024-01-15","first_due_date":"2025-01-15",'
        b'"status":"late","guarantee":null}'
    )
    command = NewLoan.parse(body).to_command()
    assert (command.terms.original_principal, command.terms.outstanding_at_registration) == (10_000, 10_000)
    assert (command.issued_face, command.terms.annual_rate_ppm, command.terms.never_late) == (0, 140_700, False)
