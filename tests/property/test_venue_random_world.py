"""Random commands against the whole venue: conservation after each, no trace of refusals, snapshots and replays agree.

A failure names seed and step; tests/soak.py runs more.
"""

import random
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from market.claims.servicing import NewRow
from market.commands import (
    AccountKind,
    AssignRulebook,
    CancelAll,
    CancelQuotes,
    CheckOrder,
    Command,
    DefineRulebook,
    Deposit,
    ExpireOrders,
    FreezeAccount,
    HaltLoan,
    IssueFace,
    Mode,
    OrderAck,
    OrderPriced,
    QuoteAck,
    Refusal,
    ResetMmp,
    ResolveOrder,
    RollDay,
    SetDefaultRulebook,
    SetMmp,
    SetMode,
    Unblock,
    Withdraw,
)
from market.errors import MarketError
from market.events import Executed, Serviced
from market.ids import AccountId, ClientOrderId, Currency, Face, LoanId, Minor, Nanos, PriceBp, Seq
from market.orderbook.order import IMMEDIATE, OrderType, SelfTradePrevention, Side, TimeInForce
from market.venue.delivery import ytm_ppm
from market.venue.rulebook import FeeRule, Limits, Rulebook
from market.venue.venue import Venue
from tests.builders import (
    Market,
    amend,
    buy,
    cancel,
    mass_quote,
    open_account,
    quote,
    register,
    sell,
    service,
    servicing,
)

COMMANDS = 3_000  # of one seed; tests/soak.py runs more
ACCOUNTS = [f"A{i}" for i in range(6)]
LOANS = ["L1", "L2", "L3"]
FEES = Rulebook(
    name="fees",
    buyer_fee=FeeRule(rate_ppm=2_500, minimum=Minor(3)),
    seller_fee=FeeRule(rate_ppm=3_000, cap=Minor(500)),
    max_open_orders=40,
)
TIGHT = Rulebook(  # everything that looks at lots, portfolios and classes, tight enough to refuse now and then
    name="tight",
    min_holding_days=2,
    max_transfers=3,
    limits=Limits(per_loan=Minor(800_00), per_borrower=Minor(400_00), per_grade_bp=30_00),
    suitability=(("A", "c2"),),
)
LOOSE = Rulebook(name="tight", min_holding_days=1, max_transfers=9, limits=Limits(per_loan=Minor(5_000_00)))
RULEBOOKS = ["open", "open", "cn-strict", "tight", "tight"]


class World:
    """Makes commands that are often refused, often barely possible, and full of small, ill-rounding quantities."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.market = Market(loans=())
        for rules in (FEES, TIGHT):
            self.market.do(DefineRulebook(rulebook=rules))
        for i, loan_id in enumerate(LOANS):
            outstanding = [10_000_00, 3_333_33, 777_77][i]
            about = {"borrower_ref": "X" if i else "", "grade": "AB"[i % 2]}
            command = register(loan_id, outstanding_at_registration=Minor(outstanding), issued=9_000_00, **about)
            self.market.do(command)
        self.market.do(AssignRulebook(loan_id=LoanId("L2"), rulebook="fees"))
        for i, account in enumerate(ACCOUNTS):
            kind = AccountKind.MARKET_MAKER if i == 0 else AccountKind.INVESTOR
            group, risk_class = "g" if i in (1, 2) else None, f"c{i}" if i else None
            self.market.do(open_account(account, kind, owner_group=group, risk_class=risk_class))
            self._deposit(account)
        for account in ACCOUNTS[:4]:
            for loan_id in LOANS:
                self.market.do(sell("ORIG", 9_000, 500_00, loan_id=loan_id))
                self.market.do(buy(account, 9_000, 500_00, loan_id=loan_id))

    def _deposit(self, account: str) -> None:
        amount = self.rng.choice([2_000_00, 1_500_01])
        self.market.do(
            Deposit(
                account_id=AccountId(account),
                currency=Currency("USD"),
                amount=Minor(amount),
                custody_ref=f"r{self.rng.random()}",
            )
        )

    def command(self) -> Command:
        kinds = [self._order, self._amend, self._cancel, self._quotes, self._rare, self._servicing]
        return self.rng.choices(kinds, weights=[70, 12, 12, 8, 3, 2])[0]()

    def _order(self) -> Command:
        rng, state = self.rng, self.market.venue.state
        make, loan_id = rng.choice([buy, sell]), LoanId(rng.choice(LOANS))
        quantity = rng.choice([rng.randint(100, 140), rng.randint(100, 9_999), rng.randint(100, 90_000)])
        price: int | None = rng.randint(8_980, 9_020)
        extra: dict[str, Any] = {"stp": rng.choice(list(SelfTradePrevention))}
        tif = rng.choice([*TimeInForce, *[TimeInForce.GTC] * 4])
        extra["time_in_force"] = tif
        if tif is TimeInForce.GTD:
            extra["expire_at"] = Nanos(self.market.at + rng.randint(1, 60))
        if rng.random() < 0.1:
            price, extra = None, {"order_type": OrderType.MARKET}
        elif rng.random() < 0.2 and (around := ytm_ppm(state, state.loans[loan_id], PriceBp(9_000))) is not None:
            price, extra["order_type"] = None, OrderType.YIELD
            extra["limit_yield_ppm"] = around + rng.randint(-2_000, 2_000)
            extra["pegged"] = tif not in IMMEDIATE and rng.random() < 0.7
        if rng.random() < 0.15:
            extra["display_quantity"] = Face(max(100, quantity // rng.randint(2, 9)))
        if rng.random() < 0.1:
            extra["min_quantity"] = Face(rng.randint(1, quantity))
        if rng.random() < 0.1 and tif not in (TimeInForce.IOC, TimeInForce.FOK):
            extra["post_only"] = True
        if rng.random() < 0.1:
            extra[rng.choice(["cancel_on_payment", "cancel_on_reschedule"])] = True
        if rng.random() < 0.3:
            extra["client_order_id"] = f"c{rng.randint(1, 300)}"
        if rng.random() < 0.05:
            extra["deadline"] = Nanos(self.market.at + rng.randint(0, 2))
        account = AccountId(rng.choice(ACCOUNTS))
        if state.accounts[account].blocked and rng.random() < 0.5:
            return Unblock(account_id=account)
        order = make(account, price, quantity, loan_id=loan_id, **extra)
        return CheckOrder(order=order) if rng.random() < 0.1 else order

    def _open_order(self) -> tuple[str, int]:
        orders = self.market.venue.state.orders
        if not orders or self.rng.random() < 0.05:
            return self.rng.choice(ACCOUNTS), self.rng.randint(1, 500)
        order = orders[self.rng.choice(list(orders))]
        return order.account_id, order.order_id

    def _amend(self) -> Command:
        account, order_id = self._open_order()
        changed: dict[str, Any] = {}
        if self.rng.random() < 0.7:
            changed["quantity"] = Face(self.rng.randint(100, 20_000))
        if self.rng.random() < 0.5:
            changed["price"] = PriceBp(self.rng.randint(8_980, 9_020))
        if self.rng.random() < 0.1:
            changed["if_version"] = self.rng.randint(1, 3)
        return amend(account, order_id, **changed)

    def _cancel(self) -> Command:
        return cancel(*self._open_order())

    def _quotes(self) -> Command:
        """Often at the very price that stands, in two sets and two groups, from two connections."""
        rng, account = self.rng, AccountId(self.rng.choice(ACCOUNTS))
        group = rng.choice([None, "g1", "g2"])
        rare = rng.random()
        if rare < 0.08 and group is not None:
            bounds: dict[str, Any] = {"max_fills": rng.choice([None, 1, 3]), "max_face": Face(rng.randint(1, 60_000))}
            return SetMmp(account_id=account, group=group, window=rng.randint(1, 400), **bounds)
        if rare < 0.2 and group is not None:
            return ResetMmp(account_id=account, group=group)
        if rare < 0.25:
            connection = rng.choice([None, "c-1", "c-2"])
            return CancelQuotes(account_id=account, quote_set=rng.choice([None, "q1"]), connection=connection)
        quotes = []
        for loan_id in rng.sample(LOANS, rng.randint(1, 3)):
            middle = rng.randint(8_990, 9_010)
            bid, ask = middle - rng.randint(-1, 5), middle + rng.randint(0, 5)
            sides = [(price, rng.choice([0, 100, 5_000, rng.randint(1, 9_999)])) for price in (bid, ask)]
            quotes.append(quote(*(rng.choice([side, side, side, None]) for side in sides), loan_id))
        named: dict[str, Any] = {"quote_set": rng.choice(["q1", "q2"]), "connection": rng.choice(["c-1", "c-2"])}
        return mass_quote(account, *quotes, mmp_group=group, **named)

    def _rare(self) -> Command:
        rng, account = self.rng, AccountId(self.rng.choice(ACCOUNTS))
        loan_id, state = LoanId(rng.choice(LOANS)), self.market.venue.state
        cash = {"account_id": account, "currency": Currency("USD"), "custody_ref": f"x{rng.randint(1, 200)}"}
        return rng.choice(
            [
                CancelAll(account_id=account, side=rng.choice([None, *Side]), block=rng.random() < 0.5),
                HaltLoan(loan_id=loan_id, halted=rng.random() < 0.4, reason="test"),
                HaltLoan(loan_id=loan_id, halted=False),
                AssignRulebook(loan_id=LoanId(LOANS[0]), rulebook=rng.choice(RULEBOOKS)),
                AssignRulebook(loan_id=LoanId(LOANS[2]), rulebook=rng.choice(RULEBOOKS)),
                DefineRulebook(rulebook=rng.choice([TIGHT, LOOSE])),
                SetDefaultRulebook(account_id=AccountId("ORIG"), rulebook=rng.choice(["tight", None])),
                FreezeAccount(account_id=account, frozen=rng.random() < 0.3),
                SetMode(mode=rng.choice([Mode.OPEN, Mode.OPEN, Mode.OPEN, Mode.POST_ONLY])),
                RollDay(to=state.today + timedelta(days=rng.randint(0, 3))),
                Deposit(amount=Minor(rng.randint(1, 300_00)), **cash),
                Withdraw(amount=Minor(rng.randint(1, 300_00)), **cash),
                IssueFace(loan_id=loan_id, face=Face(rng.randint(0, 200_00))),
                ExpireOrders(),
                ResolveOrder(account_id=account, client_order_id=ClientOrderId(f"c{rng.randint(1, 3_000)}")),
            ]
        )

    def _servicing(self) -> Command:
        """Mostly payments, also of odd amounts, splits and lists; nothing that ends a loan for good."""
        rng, today = self.rng, self.market.venue.state.today
        events = []
        for _ in range(rng.choice([1, 1, 1, 3])):
            loan = self.market.venue.state.loans[LoanId(rng.choice(LOANS))]
            row, given = loan.next_instalment, {}
            ends = row is None or row.payment >= loan.outstanding
            amount: int | None = rng.choice([rng.randint(1, 300), 1 if ends or row is None else row.payment])
            kind = rng.choice(["payment"] * 6 + ["missed", "default", "recovery", "reschedule"])
            if kind == "reschedule":
                amount, first = None, today + timedelta(days=rng.randint(1, 40))
                total = loan.outstanding + rng.choice([0, 0, rng.randint(0, 9)])
                part = rng.randint(0, total // 2)
                plan = [(first, part), (first + timedelta(days=rng.randint(20, 40)), total - part)]
                interest = Minor(rng.randint(0, 99))
                given["schedule"] = tuple(NewRow(due_date=d, interest=interest, principal=Minor(p)) for d, p in plan)
            elif kind in ("missed", "default"):
                amount = None
            elif rng.random() < 0.2:
                given["interest"] = Minor(rng.randint(0, amount))
            on = today - timedelta(days=rng.choice([0, 0, 0, 9]))
            event_id = f"s{rng.randint(1, 9_999)}"
            events.append(servicing(kind, on, amount, loan_id=loan.terms.loan_id, event_id=event_id, **given))
        return service(*events)


@pytest.mark.parametrize("seed", range(4))
def test_random_world_conserves_everything(seed: int) -> None:
    trades, refusals, booked = run_world(seed, COMMANDS)
    assert booked > COMMANDS // 300, "a world without servicing shows little"
    assert refusals < COMMANDS * 0.7
    assert trades > COMMANDS // 20


def run_world(seed: int, commands: int) -> tuple[int, int, int]:
    """Run `commands` random ones, check everything after each; return how many trades, refusals, servicing events."""
    world = World(seed)
    market, log = world.market, []
    start = market.venue.snapshot(), market.venue.seq, market.venue.state.last_trade_id
    sequences = {account_id: a.exec_seq for account_id, a in market.venue.state.accounts.items()}
    refusals = booked = 0
    for step in range(commands):
        command = world.command()
        checked = step % 10 == 0
        before = market.venue.state_hash() if checked else b""
        try:
            applied = market.do(command)
        except MarketError:
            refusals += 1
            assert not checked or market.venue.state_hash() == before, (
                f"seed {seed} step {step}: {command} left a trace"
            )
            continue
        if isinstance(command, CheckOrder):
            assert applied.events == (), f"seed {seed} step {step}: {command} changed something"
        if applied.events:
            log.append((market.venue.seq, market.at, command))
        for event in applied.events:
            booked += isinstance(event, Serviced)
            if isinstance(event, Executed):
                assert event.sequence == sequences[event.account_id] + 1, f"seed {seed} step {step}"
                assert len({row.fill is None for row in event.rows}) == 1
                sequences[event.account_id] = event.sequence
        try:
            market.venue.state.check_invariants()
        except Exception as violation:
            raise AssertionError(f"seed {seed} step {step}: {command}") from violation
    venue = market.venue
    restored = Venue.restore(venue.seq, venue.snapshot(), last_trade_id=venue.state.last_trade_id)
    assert restored.state_hash() == venue.state_hash(), f"seed {seed}: a snapshot does not restore the state"

    replayed = Venue.restore(start[1], start[0], last_trade_id=start[2])
    for seq, at, command in log:
        replayed.apply(Seq(seq), at, command)
    assert replayed.state_hash() == venue.state_hash(), f"seed {seed}: the log does not replay to the same state"
    return venue.state.last_trade_id - start[2], refusals, booked


def test_the_tight_rulebook_refuses_by_each_of_its_rules() -> None:
    met: set[object] = set()
    for seed in range(4):
        world = World(seed)
        for _ in range(COMMANDS):
            try:
                world.market.do(world.command())
            except MarketError as refusal:
                met.add(refusal.details.get("rule"))
    wanted = {"min_holding_days", "max_transfers", "suitability"}
    assert met >= wanted | {"limit_per_loan", "limit_per_borrower", "limit_per_grade"}, met


def test_a_restored_venue_goes_on_exactly_like_the_one_it_was_taken_from() -> None:
    world = World(99)
    market = world.market
    twin = market.venue
    for step in range(1_500):
        if step % 100 == 0:
            twin = Venue.restore(
                market.venue.seq, market.venue.snapshot(), last_trade_id=market.venue.state.last_trade_id
            )
        command = world.command()
        try:
            applied = market.do(command)
        except MarketError as refusal:
            with pytest.raises(type(refusal)):
                twin.apply(Seq(twin.seq + 1), market.at, command)
            continue
        assert twin.apply(Seq(twin.seq + 1), market.at, command) == applied, f"step {step}: {command}"


def test_a_side_of_a_quote_is_refused_when_the_order_would_be() -> None:
    """But for self-trades, which an order is never refused for, and a market that is post-only."""
    world = World(7)
    market, rng = world.market, world.rng
    judged = refused = 0
    for step in range(2_000):
        with suppress(MarketError):
            market.do(world.command())
        account, loan_id = AccountId(rng.choice(ACCOUNTS)), LoanId(rng.choice(LOANS))
        state = market.venue.state
        if state.accounts[account].blocked or state.accounts[account].frozen or state.mode is Mode.POST_ONLY:
            continue
        make = rng.choice([buy, sell])
        price, quantity = rng.choice([rng.randint(8_980, 9_020), rng.randint(0, 20_000)]), rng.randint(50, 400_000)
        expected: str | None = None
        try:
            priced = market.do(CheckOrder(order=make(account, price, quantity, loan_id=loan_id))).result
            assert isinstance(priced, OrderPriced | OrderAck)
        except MarketError as error:
            expected = type(error).__name__
        wanted = (price, quantity)
        alone = quote(wanted, None, loan_id) if make is buy else quote(None, wanted, loan_id)
        applied = market.do(mass_quote(account, alone, quote_set=f"s{step}"))
        assert isinstance(applied.result, QuoteAck)
        [outcome] = [side for side in applied.result.quotes[0] if side is not None]
        told = outcome.error if isinstance(outcome, Refusal) else None
        assert told in (expected, "SelfTrade"), f"step {step}: {told}, an order: {expected}"
        judged += 1
        refused += told is not None
        market.venue.state.check_invariants()
    assert judged > 1_000
    assert judged > refused > judged // 20
