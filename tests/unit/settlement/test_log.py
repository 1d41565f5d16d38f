"""Commands and executions as text and back, and the chain of hashes."""

from dataclasses import fields
from datetime import date
from hashlib import sha256
from typing import Any, get_args

import pytest

from market.claims.loan import Document, Guarantee, GuaranteeKind, LoanStatus
from market.claims.servicing import NewRow
from market.commands import (
    AmendOrder,
    AssignRulebook,
    CancelAll,
    CancelOrder,
    CancelQuotes,
    CheckOrder,
    Command,
    DefineRulebook,
    ExpireOrders,
    FreezeAccount,
    HaltLoan,
    IssueFace,
    MassQuote,
    Mode,
    OpenMarket,
    PlaceOrder,
    Quote,
    ReceiveCash,
    RegisterLoan,
    ResetMmp,
    ResolveOrder,
    RollDay,
    SendCash,
    ServiceLoan,
    SetDefaultRulebook,
    SetMmp,
    SetMode,
    Unblock,
    Withdraw,
)
from market.events import Executed
from market.ids import AccountId, ClientOrderId, Currency, Face, LoanId, Minor, Nanos, OrderId, PriceBp, Seq
from market.orderbook.order import CancelReason, OrderType, SelfTradePrevention, Side, TimeInForce
from market.settlement.codec import dump_rows, dumps, load_rows, loads
from market.settlement.log import GENESIS, KINDS, chain, decode, encode
from market.venue.rulebook import OPEN, FeeRule, Limits, Rulebook
from tests.builders import Market, buy, deposit, open_account, sell, servicing, terms

ACCOUNT, LOAN = AccountId("A"), LoanId("L1")
FULL_ORDER = PlaceOrder(
    account_id=ACCOUNT,
    loan_id=LOAN,
    side=Side.SELL,
    quantity=Face(2**53 + 1),
    order_type=OrderType.LIMIT,
    price=PriceBp(9_725),
    time_in_force=TimeInForce.GTD,
    expire_at=Nanos(1_700_000_000_123_456_789),
    post_only=True,
    min_quantity=Face(1),
    display_quantity=Face(2),
    stp=SelfTradePrevention.DECREMENT,
    cancel_on_disconnect=True,
    cancel_on_payment=True,
    cancel_on_reschedule=True,
    client_order_id=ClientOrderId('a"\\\n中文'),
    session="s",
    tag="t",
)
FULL_TERMS = terms(
    guarantee=Guarantee(kind=GuaranteeKind.INSURER, name="保险", trigger_days=0),
    documents=(Document(name="contract", sha256="00"), Document(name="id", sha256="01")),
    transferable=False,
)
FULL_RULES = Rulebook(
    name="own",
    max_discount_bp=500,
    yield_floor_ppm=None,
    max_transfers=3,
    tradable_statuses=frozenset({LoanStatus.CURRENT, LoanStatus.GRACE}),
    seller_fee=FeeRule(rate_ppm=1, cap=Minor(2)),
    limits=Limits(per_borrower=Minor(2**40)),
    suitability=(("A", "c1"), ("等级", "c5")),
)
COMMANDS: list[Command] = [
    OpenMarket(business_date=date(2024, 2, 29)),
    open_account("A", owner_group="g", risk_class="c3"),
    FreezeAccount(account_id=ACCOUNT, frozen=True),
    deposit("A", 2**62),
    Withdraw(account_id=ACCOUNT, currency=Currency("USD"), amount=Minor(1), custody_ref="w", reason=""),
    RegisterLoan(terms=FULL_TERMS, issued_face=Face(0), status=LoanStatus.GRACE),
    IssueFace(loan_id=LOAN, face=Face(1)),
    HaltLoan(loan_id=LOAN, halted=False, reason="why"),
    AssignRulebook(loan_id=LOAN, rulebook="cn-strict"),
    DefineRulebook(rulebook=FULL_RULES, reason="resolution 7"),
    SetDefaultRulebook(account_id=ACCOUNT, rulebook=None, move=True),
    ServiceLoan(
        events=(
            servicing("recovery", date(2024, 2, 15), 5, costs=Minor(1), principal=Minor(0)),
            servicing(
                "reschedule",
                date(2024, 2, 15),
                schedule=(NewRow(due_date=date(2024, 3, 1), interest=Minor(0), principal=Minor(1)),),
            ),
        ),
    ),
    SendCash(account_id=ACCOUNT, currency=Currency("USD"), amount=Minor(5), to=1, move_id="m"),
    ReceiveCash(account_id=ACCOUNT, currency=Currency("USD"), amount=Minor(5), sender=63, move_id="m"),
    SetMode(mode=Mode.CANCEL_ONLY),
    RollDay(to=date(2024, 12, 31)),
    buy("A", 9_725, 100),
    FULL_ORDER,
    CheckOrder(order=FULL_ORDER),
    AmendOrder(account_id=ACCOUNT, order_id=OrderId(0), if_version=0),
    CancelOrder(account_id=ACCOUNT, client_order_id=ClientOrderId("c")),
    CancelAll(account_id=ACCOUNT, side=Side.BUY, cause=CancelReason.KILL_SWITCH),
    MassQuote(
        account_id=ACCOUNT,
        quote_set="q",
        quotes=(
            Quote(LOAN, PriceBp(9_700), Face(1), PriceBp(9_800), Face(2)),
            Quote(LoanId("L2"), None, Face(0), PriceBp(1), Face(1)),
        ),
        connection="c-1",
        mmp_group="g",
    ),
    CancelQuotes(account_id=ACCOUNT, loan_ids=(LOAN,), cause=CancelReason.COD),
    SetMmp(account_id=ACCOUNT, group="g", max_face=Face(5), window=10**9),
    ResetMmp(account_id=ACCOUNT, group="g"),
    Unblock(account_id=ACCOUNT),
    ResolveOrder(account_id=ACCOUNT, client_order_id=ClientOrderId("c")),
    ExpireOrders(),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_command_survives_its_text(command: Command) -> None:
    again = decode(*encode(command))
    assert again == command
    assert [type(value) for value in values(again)] == [type(value) for value in values(command)]
    assert encode(again) == encode(command)


def test_every_command_is_tried() -> None:
    assert {type(command) for command in COMMANDS} == set(get_args(Command)) == set(KINDS.values())


def test_the_text_is_compact_and_says_what_is_not_default_none() -> None:
    kind, body = encode(SetMode(mode=Mode.HALTED))
    assert (kind, body) == ("SetMode", '{"mode":"halted"}')
    assert encode(HaltLoan(loan_id=LOAN, halted=True, reason="x"))[1] == '{"loan_id":"L1","halted":true,"reason":"x"}'


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("Magic", "{}"),
        ("SetMode", "{}"),
        ("SetMode", '{"mode":"party"}'),
        ("SetMode", "{"),
        ("RollDay", '{"to":"soon"}'),
    ],
)
def test_what_is_no_command_is_refused(kind: str, body: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode(kind, body)


def test_execution_rows_survive_their_text() -> None:
    market = Market()
    market.investor("A", cash=5_000_00)
    applied = [
        market.do(sell("ORIG", 9_800, 500_00, tag="中文", display_quantity=Face(100_00))),
        market.do(buy("A", 9_900, 300_00, client_order_id="x")),
    ]
    messages = [event for one in applied for event in one.events if isinstance(event, Executed)]
    assert any(row.fill for message in messages for row in message.rows)
    for message in messages:
        assert load_rows(dump_rows(message.rows)) == message.rows


def test_a_rulebook_survives_its_text_which_no_set_order_changes() -> None:
    assert loads(Rulebook, dumps(OPEN)) == OPEN
    assert '"tradable_statuses":["current","default","grace","late"]' in dumps(OPEN)


def test_the_chain_is_sha256_of_the_line_before_and_the_parts() -> None:
    line = chain(GENESIS, Seq(1), Nanos(2), "ak_1", "SetMode", '{"mode":"open"}')
    assert line == sha256(bytes(32) + b'1\x002\x00ak_1\x00SetMode\x00{"mode":"open"}').digest()


def test_no_two_lines_share_a_hash() -> None:
    first = chain(GENESIS, Seq(1), Nanos(23), "a", "k", "b")
    assert first != chain(GENESIS, Seq(12), Nanos(3), "a", "k", "b")
    assert first != chain(GENESIS, Seq(1), Nanos(23), "ak", "", "b")
    assert first != chain(first, Seq(1), Nanos(23), "a", "k", "b")


def values(value: Any) -> list[Any]:
    return [getattr(value, field.name) for field in fields(value)]
