"""Views built from a stream of entries, against the venue that made them."""

import random
from datetime import date
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.reads.day_stats import BUCKET, NO_TRADES, WINDOW, RollingDay
from gateway.reads.loan_view import NO_BOOK, LoanView
from gateway.reads.views import Views
from market.commands import CancelAll, Command, HaltLoan, Mode, RollDay, SetMode
from market.errors import MarketError, UnknownAccount, UnknownLoan
from market.events import BookChanged, Event, LogEntry, Traded
from market.ids import AccountId, Face, LoanId, Nanos, PriceBp, Seq
from market.orderbook.depth import FIRST_SEQ
from market.orderbook.order import CancelReason, OrderStatus, Side, TimeInForce
from tests.builders import (
    Market,
    amend,
    buy,
    cancel,
    deposit,
    mass_quote,
    open_account,
    quote,
    sell,
    service,
    servicing,
)
from tests.integration.settlement.recording import RecordedWorld

SECOND = 1_000_000_000


class Committed:
    """A market whose entries reach views, one batch per command."""

    def __init__(self, **market: Any) -> None:
        self.market = Market(**market)
        self.views = Views()
        self.views.on_snapshot(1, self.market.venue.seq, self.market.venue.snapshot())

    def do(self, command: Command) -> LogEntry:
        entry = self.market.entry(command)
        self.views.on_entry(entry)
        self.views.on_batch_end()
        return entry


def picture(views: Views) -> dict[str, Any]:
    """Everything but the trades, which a snapshot does not tell."""
    return {
        "market": (views.mode, views.business_date),
        "loans": {
            loan_id: (loan.state, loan.symbol, loan.book.rows(Side.BUY), loan.book.rows(Side.SELL), loan.last_price)
            for loan_id, loan in views.loans.items()
        },
        "accounts": {
            account_id: (
                replace(account.state, exec_seq=0),
                account.exec_seq,
                account.cash,
                account.claims,
                {order_id: replace(order, cancel_reason=None) for order_id, order in account.open_orders.items()},
                {order_id: state._replace(hold=0) for order_id, state in account.quotes.items()},  # shown to nobody
            )
            for account_id, account in views.accounts.items()
        },
    }


def random_command(rng: random.Random, orders: list[int]) -> Command:
    account = rng.choice(["A", "B", "ORIG"])
    loan_id = rng.choice(["L1", "L2"])
    price, quantity = rng.randint(9_700, 9_720), rng.randint(1, 40) * 100
    match rng.randint(0, 10):
        case 10:
            sides = [(price - rng.randint(1, 9), quantity), (price + rng.randint(0, 9), quantity)]
            return mass_quote(account, quote(*(rng.choice([side, side, None]) for side in sides), loan_id))
        case 0 | 1 | 2:
            return buy(account, price, quantity, loan_id=loan_id, time_in_force=rng.choice(list(TimeInForce)[:2]))
        case 3 | 4 | 5:
            return sell(account, price, quantity, loan_id=loan_id)
        case 6 | 7:
            return cancel(account, rng.choice(orders))
        case 8:
            return amend(account, rng.choice(orders), quantity=Face(quantity), price=PriceBp(price))
        case _:
            rare: list[Command] = [
                CancelAll(account_id=AccountId(account), loan_id=LoanId(loan_id)),
                HaltLoan(loan_id=LoanId(loan_id), halted=rng.random() < 0.3, reason="test"),
                SetMode(mode=rng.choice([Mode.OPEN, Mode.OPEN, Mode.POST_ONLY])),
            ]
            return rng.choice(rare)


@pytest.mark.parametrize("seed", range(5))
def test_entries_lead_to_what_the_snapshot_says(seed: int) -> None:
    rng, committed, orders = random.Random(seed), Committed(loans=("L1", "L2")), [1]
    for command in (*_investor("A"), *_investor("B")):
        committed.do(command)
    for _ in range(600):
        try:
            orders.append(committed.do(random_command(rng, orders)).seq)
        except MarketError:
            continue
    fresh = Views()
    fresh.on_snapshot(2, committed.market.venue.seq, committed.market.venue.snapshot())
    assert picture(committed.views) == picture(fresh)
    assert committed.views.engine_seq == committed.market.venue.seq


def _investor(account_id: str) -> tuple[Command, ...]:
    return open_account(account_id), deposit(account_id, 1_000_000_00)


def _trading() -> Committed:
    committed = Committed()
    for command in (*_investor("A"), sell("ORIG", 9_800, 500_00), buy("A", 9_800, 200_00)):
        committed.do(command)
    return committed


def test_a_trade_shows_as_last_price_and_in_the_day() -> None:
    committed = _trading()
    loan = committed.views.loan(LoanId("L1"))
    assert loan.last is not None
    assert (loan.last_price, loan.best_ask, loan.best_bid) == (9_800, (9_800, 300_00), None)
    stats = loan.day(committed.market.at)
    assert (stats.volume, stats.vwap, stats.low, stats.high, stats.change) == (200_00, 9_800, 9_800, 9_800, 0)


def test_depth_views_move_once_per_batch() -> None:
    committed = Committed()
    view = committed.views.loan(LoanId("L1")).book.view(10)
    first = view.snapshot()
    committed.do(sell("ORIG", 9_800, 500_00))
    [(loan, [delta])] = committed.views.book_deltas
    assert (loan.loan_id, delta.prev_seq, delta.seq) == ("L1", first.seq, committed.market.venue.seq)
    assert delta.asks == [(9_800, 500_00)]
    committed.do(SetMode(mode=Mode.POST_ONLY))
    assert committed.views.book_deltas == []


def test_a_loan_is_restated_when_more_than_its_last_price_changes() -> None:
    committed = _trading()
    committed.do(buy("A", 9_800, 100_00))
    assert committed.views.restated == []
    committed.do(HaltLoan(loan_id=LoanId("L1"), halted=True, reason="audit"))
    assert [loan.loan_id for loan in committed.views.restated] == ["L1"]
    committed.do(SetMode(mode=Mode.POST_ONLY))
    assert committed.views.restated == []


def test_a_rebuild_keeps_the_trades_of_the_day() -> None:
    committed = _trading()
    views, venue = committed.views, committed.market.venue
    before = views.loan(LoanId("L1")).day(committed.market.at)
    views.on_snapshot(2, venue.seq, venue.snapshot())
    loan = views.loan(LoanId("L1"))
    assert views.epoch == 2
    assert loan.day(committed.market.at) == before
    assert len(loan.recent) == 1


def test_accrued_and_yield_follow_the_business_date() -> None:
    committed = Committed()
    loan = committed.views.loan(LoanId("L1"))
    at_par = loan.ytm_at(PriceBp(10_000))
    assert at_par is not None
    assert 0.12 < at_par < 0.13
    committed.do(RollDay(to=date(2024, 1, 25)))
    accrued = loan.accrued(committed.views.business_date)
    assert accrued.numerator / accrued.denominator == pytest.approx(100_00 * 10 / 31)
    assert loan.ytm_at(PriceBp(10_000)) != at_par
    assert loan.ytm_at(PriceBp(9_000)) > 0.3  # type: ignore[operator]


def test_traded_yield_equals_the_yield_shown() -> None:
    committed = _trading()
    committed.do(RollDay(to=date(2024, 1, 25)))
    entry = committed.do(buy("A", 9_800, 100_00))
    [trade] = [event for event in entry.events if isinstance(event, Traded)]
    shown = committed.views.loan(LoanId("L1")).ytm_at(PriceBp(9_800))
    assert shown is not None
    assert round(shown * 1_000_000) == trade.ytm_ppm


def test_unknown_names_are_refused() -> None:
    views = Committed().views
    with pytest.raises(UnknownLoan):
        views.loan(LoanId("L9"))
    for symbol in ("L1/CNY", "L1", "L9/USD", "L1/USD/", ""):
        with pytest.raises(UnknownLoan):
            views.loan_of_symbol(symbol)
    assert isinstance(views.loan_of_symbol("L1/USD"), LoanView)
    with pytest.raises(UnknownAccount):
        views.account(AccountId("nobody"))


def test_rolling_day_equals_a_plain_count() -> None:
    rng, day, now = random.Random(7), RollingDay(), Nanos(1_700_000_000 * SECOND)
    trades: list[tuple[int, int, int]] = []
    for _ in range(2_000):
        now = Nanos(now + rng.randint(0, 600) * SECOND)
        price, quantity = rng.randint(9_000, 11_000), rng.randint(1, 10_000)
        day.add(now, PriceBp(price), Face(quantity))
        trades.append((now, price, quantity))
        kept = [t for t in trades if t[0] // BUCKET >= (now - WINDOW) // BUCKET]
        stats = day.stats(now)
        assert stats.volume == sum(t[2] for t in kept)
        assert (stats.low, stats.high) == (min(t[1] for t in kept), max(t[1] for t in kept))
        assert stats.vwap == round(sum(t[1] * t[2] for t in kept) / stats.volume + 1e-9)
        assert (stats.trades, stats.change) == (len(kept), kept[-1][1] - kept[0][1])


def test_a_day_without_trades_has_no_figures() -> None:
    day = RollingDay()
    assert day.stats(Nanos(5)) == NO_TRADES
    day.add(Nanos(5), PriceBp(9_800), Face(100))
    assert day.stats(Nanos(5 + WINDOW + 2 * BUCKET)) == NO_TRADES


@pytest.mark.parametrize(
    ("first", "last", "pct"),
    [
        pytest.param(10_000, 10_100, 100, id="one percent up"),
        pytest.param(10_000, 9_900, -100, id="one percent down"),
        pytest.param(9_999, 10_000, 1, id="rounded to a hundredth"),
    ],
)
def test_change_is_relative_to_the_first_price_of_the_window(first: int, last: int, pct: int) -> None:
    day = RollingDay()
    day.add(Nanos(0), PriceBp(first), Face(1))
    day.add(Nanos(1), PriceBp(last), Face(1))
    assert day.stats(Nanos(2)).change_pct_bp == pct


def test_sequence_numbers_are_those_of_the_entries() -> None:
    committed = Committed()
    entry = committed.do(sell("ORIG", 9_800, 500_00))
    assert committed.views.engine_seq == entry.seq == Seq(5)
    assert committed.views.account(AccountId("ORIG")).exec_seq == 1


def test_the_conservative_yield_follows_arrears_and_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    committed = Committed()
    loan, price = committed.views.loans[LoanId("L1")], PriceBp(98_00)
    assert loan.ytm_conservative_at(price) == loan.ytm_at(price)
    committed.do(RollDay(to=date(2024, 2, 15)))
    assert loan.ytm_conservative_at(price) == loan.ytm_at(price)  # due today is not overdue
    committed.do(RollDay(to=date(2024, 2, 20)))
    in_grace = loan.ytm_conservative_at(price), loan.ytm_at(price)
    assert loan.state.status == "grace"
    assert None not in in_grace
    assert in_grace < in_grace[::-1]
    committed.do(RollDay(to=date(2024, 3, 10)))
    late = loan.ytm_conservative_at(price)
    assert (loan.state.status, loan.ytm_at(price)) == ("late", None)
    assert late not in (None, *in_grace)

    def again(*_: object, **__: object) -> None:
        raise AssertionError("it was known")

    monkeypatch.setattr("gateway.reads.loan_view.yield_at_price", again)
    assert loan.ytm_conservative_at(price) == late
    event = servicing("default", date(2024, 3, 10))
    committed.do(service(event))
    assert loan.ytm_conservative_at(price) is None


def test_after_a_rebuild_an_account_knows_which_quotes_it_lost() -> None:
    committed = Committed()
    committed.do(mass_quote("ORIG", quote(None, (9_900, 10_00))))
    [stood] = committed.views.account(AccountId("ORIG")).quotes.values()
    venue = committed.market.venue
    committed.views.on_snapshot(1, venue.seq, venue.snapshot())
    account = committed.views.account(AccountId("ORIG"))
    assert (list(account.quotes.values()), account.lost_quotes) == ([stood], []), "the same state told again"
    venue.drop_quotes()
    committed.views.on_snapshot(2, venue.seq, venue.snapshot())
    account = committed.views.account(AccountId("ORIG"))
    assert account.quotes == {}
    assert [(lost.order_id, lost.status, lost.cancel_reason) for lost in account.lost_quotes] == [
        (stood.order_id, OrderStatus.CANCELED, CancelReason.RESTART)
    ]
    committed.views.on_snapshot(3, venue.seq, venue.snapshot())
    assert committed.views.account(AccountId("ORIG")).lost_quotes == []


@pytest.mark.parametrize("seed", range(3))
def test_a_new_epoch_leaves_what_a_snapshot_without_quotes_would_tell(seed: int) -> None:
    world = RecordedWorld(seed, commands=0)
    venue, one, other = world.market.venue, Views(), Views()
    one.on_snapshot(1, venue.seq, venue.snapshot())
    for _ in range(8):
        world.recording.take()
        world.go_on(150)
        for entry in world.recording.take():
            one.on_entry(entry)
            one.on_batch_end()
        stood = {account_id: list(account.quotes) for account_id, account in one.accounts.items()}
        venue.drop_quotes()
        one.on_epoch(one.epoch + 1, venue.seq)
        other.on_snapshot(one.epoch, venue.seq, venue.snapshot())
        assert picture(one) == picture(other)
        lost = {account_id: [quote.order_id for quote in each.lost_quotes] for account_id, each in one.accounts.items()}
        assert lost == stood


def test_the_end_of_quotes_is_a_step_of_the_book_like_any_other() -> None:
    committed = Committed()
    committed.do(sell("ORIG", 9_800, 5_00))
    view = committed.views.loans[LoanId("L1")].book.view(10)
    committed.do(mass_quote("ORIG", quote(None, (9_800, 10_00))))
    before = view.snapshot()
    committed.views.on_epoch(2, committed.market.venue.seq)
    [(_, [delta])] = committed.views.book_deltas
    assert (delta.prev_seq, delta.asks) == (before.seq, [(9_800, 5_00)])


@pytest.mark.parametrize("seed", range(3))
def test_who_follows_the_same_engine_numbers_books_alike_whenever_it_began(seed: int) -> None:
    """One from the beginning of the epoch, and one that takes the state again and again."""
    world = RecordedWorld(seed, commands=100)
    venue, one, other, changed = world.market.venue, Views(), Views(), dict[LoanId, Seq]()
    one.on_snapshot(1, venue.seq, venue.snapshot())
    for _ in range(6):
        world.recording.take()
        numbers = [BookChanged(loan_id=loan_id, changes=(), seq=seq) for loan_id, seq in changed.items()]
        other.on_snapshot(1, venue.seq, [*venue.snapshot(), *numbers])
        world.go_on(60)
        for entry in world.recording.take():
            changed |= {event.loan_id: entry.seq for event in entry.events if isinstance(event, BookChanged)}
            for views in (one, other):
                views.on_entry(entry)
                views.on_batch_end()
        known = {loan_id: loan.book.seq for loan_id, loan in one.loans.items()}
        assert known == {loan_id: loan.book.seq for loan_id, loan in other.loans.items()}
        assert max(known.values()) > FIRST_SEQ
    one.on_epoch(2, venue.seq)
    assert {loan.book.seq for loan in one.loans.values()} == {FIRST_SEQ}


@pytest.mark.parametrize("seed", range(6))
def test_a_state_that_was_told_while_the_market_went_on_is_the_state_after_what_happened_meanwhile(seed: int) -> None:
    rng, world = random.Random(seed), RecordedWorld(seed, commands=200)
    for _ in range(3):
        world.recording.take()
        told, late, now = list[Event](), Views(), Views()
        for event in world.market.venue.outline():
            told.append(event)
            if rng.random() < 0.6:
                world.go_on(rng.randint(1, 3))
        entries = world.recording.take()
        assert len(entries) > 10, "else nothing happened meanwhile"
        since = [event for entry in entries for event in entry.events if not isinstance(event, Traded)]
        late.on_snapshot(1, world.market.venue.seq, [*told, *since])
        now.on_snapshot(1, world.market.venue.seq, world.market.venue.snapshot())
        assert picture(late) == picture(now)
        for views in (late, now):
            assert {each.account_id: each.exec_seq for each in views.accounts.values()} == {
                each.account_id: each.exec_seq for each in now.accounts.values()
            }


def test_a_condition_on_the_book_holds_for_the_number_of_what_stands_alone() -> None:
    committed, loan_id = Committed(), LoanId("L1")
    committed.do(sell("ORIG", 9_800, 5_00))
    loan = committed.views.loans[loan_id]
    seq = loan.book.view(10).seq
    assert committed.views.condition(loan_id, seq) == loan.digest_at(seq) != NO_BOOK
    assert {committed.views.condition(loan_id, other) for other in (seq - 1, seq + 1)} == {NO_BOOK}
