"""Cash moves from one partition's ledger to another's: sent once, received once, and held by nobody in between."""

from dataclasses import replace
from typing import Any

import pytest

from market.commands import Done, ReceiveCash, Withdraw
from market.errors import DuplicateId, InsufficientFunds, InvalidArguments, MarketError, UnknownAccount
from market.events import CashChanged, CashReceived, CashSent, Posted
from market.ids import AccountId, Currency, Minor, Seq
from market.partitions import STRIDE, partition_of
from market.settlement.journal import TRANSIT, EntryKind
from market.venue.venue import Venue
from tests.builders import Market, buy, deposit, open_account, receive_cash, sell, send_cash


@pytest.fixture
def first() -> Market:
    market = Market(loans=())
    market.investor("A", cash=1_000_00)
    return market


@pytest.fixture
def second() -> Market:
    market = Market(loans=("L1",), partition=1)
    market.do(open_account("A"))
    return market


def transit(market: Market, entries: list[Posted]) -> int:
    return sum(leg.amount for posted in entries for leg in posted.entry.postings if leg.account_id == TRANSIT)


def moved(market: Market) -> int:
    return market.venue.state.accounts[AccountId("A")].cash[Currency("USD")].moved


def test_a_partitions_numbers_begin_where_it_does(second: Market) -> None:
    assert second.venue.seq == STRIDE + 5
    second.do(receive_cash("A", 1_000_00, 0, "m"))
    second.do(sell("ORIG", 9_800, 100_00))
    traded = second.do(buy("A", 9_800, 100_00))
    assert second.venue.state.last_trade_id == STRIDE + 1
    [entry] = [event.entry for event in traded.events if isinstance(event, Posted)]
    assert partition_of(entry.entry_id >> 20) == 1
    second.venue.state.check_invariants()


def test_what_is_sent_leaves_the_line_and_what_arrives_can_be_traded_with(first: Market, second: Market) -> None:
    sent = first.do(send_cash("A", 300_00, 1, "m-1"))
    assert first.cash("A") == (700_00, 0)
    assert [type(event) for event in sent.events] == [CashSent, Posted, CashChanged]
    received = second.do(receive_cash("A", 300_00, 0, "m-1"))
    assert second.cash("A") == (300_00, 0)
    assert [type(event) for event in received.events] == [CashReceived, Posted, CashChanged]
    assert (moved(first), moved(second)) == (-300_00, 300_00)
    second.do(sell("ORIG", 9_800, 100_00))
    second.do(buy("A", 9_800, 100_00))
    for market in (first, second):
        market.venue.state.check_invariants()


def test_each_ledger_sums_to_zero_with_what_is_in_transit(first: Market, second: Market) -> None:
    [out] = [e for e in first.do(send_cash("A", 300_00, 1, "m-1")).events if isinstance(e, Posted)]
    [back] = [e for e in second.do(receive_cash("A", 300_00, 0, "m-1")).events if isinstance(e, Posted)]
    assert (out.entry.kind, out.entry.reference) == (EntryKind.CASH_MOVE, "to 1 m-1")
    assert (back.entry.kind, back.entry.reference) == (EntryKind.CASH_MOVE, "from 0 m-1")
    assert transit(first, [out]) == -transit(second, [back]) == 300_00


def test_a_repeat_moves_nothing(first: Market, second: Market) -> None:
    send, receive = send_cash("A", 300_00, 1, "m-1"), receive_cash("A", 300_00, 0, "m-1")
    first.do(send)
    second.do(receive)
    for market, command in ((first, send), (second, receive)):
        before = market.venue.state_hash()
        again = market.do(command)
        assert (again.result, again.events) == (Done(duplicate=True), ())
        assert market.venue.state_hash() == before


def test_a_repeat_is_a_repeat_though_nothing_is_left(first: Market) -> None:
    send = send_cash("A", 1_000_00, 1, "m-1")
    first.do(send)
    assert first.do(send).result == Done(duplicate=True)


@pytest.mark.parametrize(
    "changed", [{"amount": Minor(1)}, {"currency": Currency("EUR")}, {"account_id": AccountId("B")}]
)
def test_an_id_is_of_one_move(first: Market, second: Market, changed: dict[str, Any]) -> None:
    first.do(open_account("B"))
    second.do(open_account("B"))
    send, receive = send_cash("A", 300_00, 1, "m-1"), receive_cash("A", 300_00, 0, "m-1")
    first.do(send)
    second.do(receive)
    with pytest.raises(DuplicateId):
        first.do(replace(send, **changed))
    with pytest.raises(DuplicateId):
        second.do(replace(receive, **changed))
    with pytest.raises(DuplicateId):
        first.do(replace(send, to=2))


def test_senders_number_their_moves_on_their_own(second: Market) -> None:
    second.do(receive_cash("A", 1_00, 0, "m-1"))
    assert second.do(receive_cash("A", 2_00, 2, "m-1")).result == Done()
    assert second.cash("A") == (3_00, 0)


def received(market: Market) -> list[str]:
    return [move_id for _, move_id in market.venue.state.received]


def receipt(sent_seq: int, all_before: int = 0, sender: int = 0) -> ReceiveCash:
    return receive_cash("A", 1_00, sender, f"m-{sent_seq}", sent_seq=sent_seq, all_before=all_before)


def test_receipts_are_forgotten_up_to_what_has_all_come_and_are_repeats_all_the_same(second: Market) -> None:
    for sent_seq in (3, 9, 7):
        second.do(receipt(sent_seq))
    second.do(receipt(4, sender=2))
    second.do(receipt(12, all_before=8))
    assert received(second) == ["m-9", "m-4", "m-12"], "of the other sender nothing is said"
    for sent_seq in (3, 7, 9, 12):
        assert second.do(receipt(sent_seq)).result == Done(duplicate=True)
    second.do(receipt(20, all_before=3))  # said before what is known by now
    assert received(second) == ["m-9", "m-4", "m-12", "m-20"]
    assert second.cash("A") == (6_00, 0)
    second.venue.state.check_invariants()


def test_what_is_still_due_arrives_after_what_was_sent_later(second: Market) -> None:
    second.do(receipt(9))
    second.do(receipt(12, all_before=5))
    assert second.do(receipt(5, all_before=5)).result == Done()
    second.do(receipt(13, all_before=13))
    assert received(second) == ["m-13"]
    assert second.cash("A") == (4_00, 0)


def test_a_receipt_that_was_refused_forgets_nothing(second: Market) -> None:
    second.do(receipt(3))
    for wrong in (receipt(5, all_before=6), receipt(5, all_before=-1)):
        with pytest.raises(InvalidArguments):
            second.do(wrong)
    with pytest.raises(UnknownAccount):
        second.do(receive_cash("nobody", 1, 0, "m", sent_seq=5, all_before=5))
    assert received(second) == ["m-3"]


def test_only_the_latest_sent_moves_are_remembered(first: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market.venue.cash_lines.SENT_MAX", 2)
    for nr in range(4):
        first.do(send_cash("A", 1_00, 1, f"m-{nr}"))
    assert list(first.venue.state.sent) == ["m-2", "m-3"]
    assert first.do(send_cash("A", 1_00, 1, "m-3")).result == Done(duplicate=True)
    assert moved(first) == -4_00
    first.venue.state.check_invariants()


def test_held_cash_is_not_sent(second: Market) -> None:
    second.do(receive_cash("A", 100_00, 0, "m-1"))
    second.do(buy("A", 9_000, 100_00))
    _, held = second.cash("A")
    with pytest.raises(InsufficientFunds) as refused:
        second.do(send_cash("A", 100_00 - held + 1, 0, "m-2"))
    assert refused.value.details == {"have": 100_00 - held, "need": 100_00 - held + 1, "currency": "USD"}
    second.do(send_cash("A", 100_00 - held, 0, "m-2"))
    assert second.cash("A") == (held, held)


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (send_cash("A", 0, 1, "m"), InvalidArguments),
        (send_cash("A", 1, 0, "m"), InvalidArguments),
        (send_cash("A", 1, 64, "m"), InvalidArguments),
        (send_cash("A", 1, -1, "m"), InvalidArguments),
        (send_cash("A", 1, 1, ""), InvalidArguments),
        (send_cash("A", 1, 1, "m" * 65), InvalidArguments),
        (send_cash("nobody", 1, 1, "m"), UnknownAccount),
        (receive_cash("A", -1, 1, "m"), InvalidArguments),
        (receive_cash("A", 1, 0, "m"), InvalidArguments),
        (receive_cash("nobody", 1, 1, "m"), UnknownAccount),
    ],
)
def test_a_move_that_makes_no_sense_leaves_no_trace(first: Market, command: Any, refusal: type[MarketError]) -> None:
    before = first.venue.state_hash()
    with pytest.raises(refusal):
        first.do(command)
    assert first.venue.state_hash() == before


def test_cash_is_paid_in_and_out_at_the_first_partition_alone(second: Market) -> None:
    second.do(receive_cash("A", 1_00, 0, "m"))
    with pytest.raises(InvalidArguments):
        second.do(deposit("A", 1_00))
    with pytest.raises(InvalidArguments):
        second.do(Withdraw(account_id=AccountId("A"), currency=Currency("USD"), amount=Minor(1), custody_ref="w"))


def test_a_rebuilt_venue_knows_every_move(first: Market, second: Market) -> None:
    send, receive = send_cash("A", 300_00, 1, "m-1"), receipt(7)
    first.do(send)
    second.do(receive)
    second.do(receipt(8, all_before=8))
    for market, command in ((first, send), (second, receive)):
        venue = market.venue
        rebuilt = Venue.restore(venue.seq, venue.snapshot(), last_trade_id=venue.state.last_trade_id)
        assert rebuilt.state_hash() == venue.state_hash()
        assert rebuilt.apply(Seq(venue.seq + 1), market.at, command).result == Done(duplicate=True)
        rebuilt.state.check_invariants()
