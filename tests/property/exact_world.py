"""A random market of loans, holders, orders and servicing, held after each event against a plain one in fractions.

The venue decides which orders meet; everything that is money is computed again: what each fill costs, what each order
holds, which orders an event ends and why, what each holder gets of a payment, what a loan then owes row by row. After
each event every balance of the venue must be the plain market's to the unit; what the venue refuses the plain market
must refuse, and what it refuses the venue must. Many young worlds, since loans end and books fill.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from math import exp, log1p
from typing import Any

from market.claims.loan import Coverage, DayCount, Guarantee, GuaranteeKind, RepaymentMethod
from market.claims.schedule import Schedule, add_months
from market.claims.servicing import NewRow, ServicingEvent, ServicingType
from market.commands import Command, Deposit, IssueFace, PlaceOrder, RegisterLoan, RollDay, ServiceLoan, Withdraw
from market.errors import InsufficientClaims, InsufficientFunds, MarketError, YieldFloor
from market.events import Event, Executed, Traded
from market.ids import AccountId, Currency, Face, LoanId, Minor, OrderId
from market.orderbook.order import ExecType, Order, OrderType, SelfTradePrevention, Side, TimeInForce
from market.venue.state import Loan
from market.venue.venue import Venue
from tests.builders import Market, buy, cancel, open_account, sell, service
from tests.builders import terms as loan_terms
from tests.property.plain_loan import LIVE, Money, PlainLoan, Refused, Row
from tests.property.plain_market import FEES, PlainMarket, PlainOrder, same

EVENTS = 1_000  # of one world
FULL = 100
TRADERS = ("A", "B", "C", "D", "E")
USD = Currency("USD")
BY_THE_BOOK = ("user", "stp", "funds", "rule", "yield_floor")  # why an order may end unforeseen: matching, pegs
SERVICING = {
    **{"payment": 80, "missed": 1, "reschedule": 7, "recovery": 4},
    **{"default": 2, "prepayment": 1, "buyback": 1, "write_off": 1},
}


class ExactWorld:
    """Makes commands out of the plain market alone, gives them to both, and compares."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.has_pegs = self.rng.random() < 0.5  # then days pass one by one, and events come one by one
        self.market = Market(loans=(), day=date(2023, 1, 1) + timedelta(self.rng.randrange(700)))
        self.venue = self.market.venue
        self.venue.state.rulebooks[FEES.name] = FEES
        self.plain = PlainMarket(self.venue.state.today)
        self.schedules: dict[str, Schedule] = {}
        self.seen: Counter[str] = Counter()
        self.last_id = 0
        for account in TRADERS:
            self.market.do(open_account(account))
            self.do(self._move(Deposit, account, self.rng.choice([500_00, 30_000_00, 30_000_01])))

    def step(self) -> None:
        if len(self._living()) < 3:
            self.do(self._register())
            return
        kinds = [self._order, self._cancel, self._service, self._roll, self._cash, self._issue]
        self.do(self.rng.choices(kinds, weights=[42, 8, 30, 14, 5, 1])[0]())

    def do(self, command: Command) -> None:
        """Give the command to both markets; both do it or both refuse it, and then they are the same."""
        ended: dict[int, str] = {}
        expected = self._foresee(command, ended)
        self.seen["events"] += 1
        try:
            applied = self.market.do(command)
        except MarketError as refusal:
            self.seen["refused"] += 1
            self._check_refusal(command, refusal, expected)
        else:
            same(expected is not False, True, f"whether {command} is admitted")
            self._follow(command, applied.events, ended)
        self._compare(command)

    # What the plain market makes of a command. True: done, False: refused, None: the book decides.

    def _foresee(self, command: Command, ended: dict[int, str]) -> bool | None:
        plain = self.plain
        match command:
            case Deposit():
                plain.cash[command.account_id] += command.amount
                plain.custody += command.amount
            case Withdraw():
                if command.amount > plain.free(command.account_id):
                    return False
                plain.cash[command.account_id] -= command.amount
                plain.custody -= command.amount
            case RegisterLoan():
                plain.loans[command.terms.loan_id] = PlainLoan.of(command.terms)
                plain.issue(command.terms.loan_id, command.issued_face)
            case IssueFace():
                loan = plain.loans[command.loan_id]
                if command.face > loan.terms.original_principal - plain.issued[command.loan_id]:
                    return False
                plain.issue(command.loan_id, command.face)
            case RollDay():
                while plain.today < command.to:
                    plain.roll(ended)
            case ServiceLoan():
                return self._foresee_servicing(command.events, ended)
            case _:
                return None
        return True

    def _foresee_servicing(self, events: tuple[ServicingEvent, ...], ended: dict[int, str]) -> bool:
        """All of the list or nothing, so on copies first. What was booked before is not booked again."""
        plain, known = self.plain, dict(self.plain.events)
        copies: dict[str, PlainLoan] = {}
        done: list[tuple[ServicingEvent, PlainLoan, Money]] = []
        for event in events:
            first = known.setdefault(event.event_id, event)
            if first != event:
                return False
            if first is not event or event.event_id in plain.events:
                continue
            loan = (copies.get(event.loan_id) or plain.loans[event.loan_id]).copy()
            try:
                done.append((event, loan, loan.service(event, plain.today)))
            except Refused:
                return False
            copies[event.loan_id] = loan
        for event, loan, paid in done:
            before, plain.loans[event.loan_id] = plain.loans[event.loan_id], loan
            plain.events[event.event_id] = event
            plain.serviced(event, paid, before.outstanding)
            plain.after_event(event, ended)
            self.seen[event.type] += 1
            self.seen["servicing events"] += 1
            self.seen["factor above 1"] += loan.outstanding > loan.terms.original_principal
        return True

    def _check_refusal(self, command: Command, refusal: MarketError, expected: bool | None) -> None:
        """Whoever has the money or the claims may trade, and nobody else."""
        same(expected is not True, True, f"whether {command} is refused with {refusal!r}")
        if not isinstance(command, PlaceOrder) or command.price is None:
            return
        plain, order = self.plain, order_of(command)
        match refusal:
            case YieldFloor():
                broken = plain.loans[order.loan_id].floor_is_broken(order.price, plain.today)
                same(broken, True, "whether the yield is below the floor")
            case InsufficientFunds():
                same(plain.free(order.account) < plain.hold(order), True, "whether cash is short")
            case InsufficientClaims():
                same(plain.free_face(order.account, order.loan_id) < order.leaves, True, "whether face is short")

    # Following the book

    def _follow(self, command: Command, events: Iterable[Event], ended: dict[int, str]) -> None:
        """Take the fills and the ends that the book decided; the foreseen ends must be there, each for its reason."""
        plain, open_orders = self.plain, self.venue.state.orders
        trades, reasons = [], dict[int, str]()
        for event in events:
            if isinstance(event, Traded):
                trades.append(event)
            elif isinstance(event, Executed):
                over = [row for row in event.rows if row.exec_type in (ExecType.CANCELED, ExecType.EXPIRED)]
                reasons |= {int(row.order.order_id): str(row.order.cancel_reason) for row in over}
        for order_id, reason in ended.items():
            same(reasons.pop(order_id, None), reason, f"the end of order {order_id}")
        if isinstance(command, RollDay | ServiceLoan):
            self._follow_pegs()
        for trade in trades:
            plain.trade(trade)
        self.seen["trades"] += len(trades)
        for order_id, reason in reasons.items():
            if plain.orders.pop(order_id, None) is not None:
                same(reason in BY_THE_BOOK, True, f"the end of order {order_id} ({reason})")
        if isinstance(command, PlaceOrder) and (rests := open_orders.get(OrderId(self.venue.seq))) is not None:
            mine = plain.orders[int(rests.order_id)] = order_of(command, rests)
            mine.held = plain.hold(mine)
            broken = plain.loans[mine.loan_id].floor_is_broken(mine.price, plain.today)
            same(broken, False, "whether the yield is below the floor")
        for mine in plain.orders.values():
            if mine.yield_ppm is not None:
                self._check_peg(mine, may_stop_short=open_orders[OrderId(mine.order_id)].post_only)

    def _follow_pegs(self) -> None:
        """Pegs are where their yield took them, and hold for that; where that is `_check_peg` judges."""
        for mine in self.plain.orders.values():
            order = self.venue.state.orders.get(OrderId(mine.order_id))
            if mine.yield_ppm is not None and order is not None:
                self.seen["pegs moved"] += mine.price != order.price
                mine.price = int(order.price)
                mine.held = self.plain.hold(mine)

    def _check_peg(self, order: PlainOrder, *, may_stop_short: bool) -> None:
        """A buyer never yields less than he asked for, a seller never gives more; a tick further one of them would."""
        loan, today = self.plain.loans[order.loan_id], self.plain.today
        daily = -log1p((order.yield_ppm or 0) / 1_000_000) / 365
        flows = [((row.due - today).days, row.interest + row.principal) for row in loan.rows]
        value = sum(amount * exp(daily * (days if days >= 0 else 1)) for days, amount in flows)
        slack, tick = 1e-9 * value, 1 if order.is_buy else -1
        here, beyond = (
            float(Fraction(loan.outstanding * price, 10_000) + loan.accrued(today))
            for price in (order.price, order.price + tick)
        )
        honoured = here <= value + slack if order.is_buy else here >= value - slack
        nearest = beyond >= value - slack if order.is_buy else beyond <= value + slack
        same(honoured and (nearest or may_stop_short), True, f"whether its yield is honoured: {order}")

    # Comparing

    def _compare(self, command: Command) -> None:
        """Every balance, hold, claim, loan and open order of the venue against the plain market's.

        Loans that have ended, and were not touched, are looked at every FULL events only.
        """
        plain, state = self.plain, self.venue.state
        touched = {event.loan_id for event in command.events} if isinstance(command, ServiceLoan) else {""}
        everything = self.seen["events"] % FULL == 0
        loans = [
            (loan_id, loan)
            for loan_id, loan in plain.loans.items()
            if loan.status in LIVE or loan_id in touched or everything
        ]
        same(state.orders.keys(), plain.orders.keys(), "open orders")
        held: Counter[tuple[str, str]] = Counter()
        for mine in plain.orders.values():
            order = state.orders[OrderId(mine.order_id)]
            same((order.price, order.leaves), (mine.price, mine.leaves), f"order {mine.order_id}")
            if order.hold != mine.held:
                self._check_short(mine, order.hold)
            held[mine.account, "" if mine.is_buy else mine.loan_id] += order.hold
        for account, cash in plain.cash.items():
            balance = state.accounts[AccountId(account)].cash[USD]
            same((balance.total, balance.held), (cash, held[account, ""]), f"cash of {account}")
            same(balance.held <= balance.total, True, f"whether {account} has the cash that is held")
        for loan_id, loan in loans:
            self._compare_loan(loan, state.loans[LoanId(loan_id)], isinstance(command, ServiceLoan | RegisterLoan))
            for account, face in plain.faces[loan_id].items():
                claim = state.accounts[AccountId(account)].claims[LoanId(loan_id)]
                cost, realised = plain.costs[account, loan_id], plain.realised[account, loan_id]
                ours = (face, held[account, loan_id], cost, realised)
                same((claim.total, claim.held, claim.cost, claim.realised), ours, f"claim of {account} on {loan_id}")
                same(claim.held <= claim.total, True, f"whether {account} has the face that is held")
        same(state.custody_totals[USD], plain.custody, "custody")
        plain.check_sums(loan_id for loan_id, _ in loans)
        if everything:
            state.check_invariants()

    def _check_short(self, mine: PlainOrder, hold: int) -> None:
        """Fills cost a little more one by one than at once; the rest of an order may be short of that, not of more."""
        same(mine.is_buy and 0 < mine.held - hold <= 5 * mine.fills, True, f"whether {hold} may be held by {mine}")
        mine.held = hold
        self.seen["short holds"] += 1

    def _compare_loan(self, loan: PlainLoan, theirs: Loan, rows_may_change: bool) -> None:
        name, schedule = theirs.terms.loan_id, theirs.schedule
        ours = (loan.outstanding, loan.status, loan.never_late, self.plain.issued[name])
        same((theirs.outstanding, theirs.status, theirs.terms.never_late, theirs.issued), ours, name)
        if not rows_may_change:
            same(schedule is self.schedules[name], True, f"whether the schedule of {name} stays")
            return
        left, rows = loan.outstanding, []
        for row in loan.rows:
            left -= row.principal
            rows.append((row.due, row.interest, row.principal, row.interest + row.principal, left))
        open_rows = schedule.rows[schedule.paid :]
        same([(r.due_date, r.interest, r.principal, r.payment, r.balance) for r in open_rows], rows, f"rows of {name}")
        self.schedules[name] = schedule

    # Making commands

    def _living(self) -> list[PlainLoan]:
        return [loan for loan in self.plain.loans.values() if loan.status in LIVE]

    def _next(self, prefix: str) -> str:
        self.last_id += 1
        return f"{prefix}{self.last_id}"

    def _move(self, kind: type[Deposit] | type[Withdraw], account: str, amount: int) -> Command:
        ref = self._next("ref-")
        return kind(account_id=AccountId(account), currency=USD, amount=Minor(amount), custody_ref=ref)

    def _cash(self) -> Command:
        rng, account = self.rng, self.rng.choice([*TRADERS, "ORIG"])
        if rng.random() < 0.5:
            return self._move(Deposit, account, rng.randint(1, 2_000_00))
        return self._move(Withdraw, account, rng.randint(1, max(2, int(1.2 * self.plain.free(account)))))

    def _register(self) -> Command:
        """Every method, period, rate and calendar; first periods longer or shorter; part repaid; part issued."""
        rng, today = self.rng, self.plain.today
        months, periods = rng.choice([1, 1, 1, 2, 3, 6]), rng.randint(1, 18)
        issue = today - timedelta(rng.choice([0, 0, rng.randrange(25)]))
        first = add_months(issue, months, anchor_day=issue.day)
        if rng.random() < 0.3:
            first = issue + timedelta(rng.randint(10, 75))
        principal = rng.choice([10_000_00, 3_333_33, 777_77, 98_765_43, rng.randint(100_00, 50_000_00)])
        outstanding = principal if rng.random() < 0.8 else rng.randint(principal // 3, principal)
        terms = loan_terms(
            self._next("L"),
            original_principal=Minor(principal),
            outstanding_at_registration=Minor(outstanding),
            annual_rate_ppm=rng.choice([0, 5_000, 79_900, 120_000, 240_000, 360_000]),
            repayment_method=rng.choice(list(RepaymentMethod)),
            term_months=months * periods,
            months_per_period=months,
            issue_date=issue,
            first_due_date=first,
            day_count=rng.choice([DayCount.PERIOD, *DayCount]),
            guarantee=Guarantee(
                kind=rng.choice(list(GuaranteeKind)),
                trigger_days=rng.choice([None, None, None, 5]),
                coverage=rng.choice(list(Coverage)),
            ),
        )
        issued = Face(rng.choice([principal, principal, principal * 3 // 4]))
        return RegisterLoan(terms=terms, issued_face=issued, rulebook=FEES.name)

    def _issue(self) -> Command:
        loan = self.rng.choice(self._living())
        return IssueFace(loan_id=loan.terms.loan_id, face=Face(self.rng.randint(1, loan.terms.original_principal // 4)))

    def _order(self) -> Command:
        rng, loan = self.rng, self.rng.choice(self._living())
        make, account = rng.choice([buy, sell]), rng.choice(TRADERS)
        if make is sell and (rng.random() < 0.2 or not self.plain.faces[loan.terms.loan_id][account]):
            account = "ORIG"
        most = max(101, loan.terms.original_principal // 8)
        quantity = rng.choice([rng.randint(100, 140), rng.randint(100, most), most, 2 * most])  # eighths tie
        price: int | None = rng.choice(
            [rng.randint(9_450, 9_550), rng.randint(9_450, 9_550), rng.randint(9_900, 10_300)]
        )
        time_in_force = rng.choice([*[TimeInForce.GTC] * 6, TimeInForce.IOC, TimeInForce.DAY])
        stp = rng.choice([SelfTradePrevention.CANCEL_NEWEST, SelfTradePrevention.CANCEL_OLDEST])
        extra: dict[str, Any] = {"time_in_force": time_in_force, "stp": stp}
        if self.has_pegs and rng.random() < 0.25:
            price, pegged = None, rng.random() < 0.8
            extra = {"order_type": OrderType.YIELD, "limit_yield_ppm": rng.randint(60_000, 400_000), "pegged": pegged}
        if rng.random() < 0.1 and extra.get("time_in_force") is not TimeInForce.IOC:
            extra["post_only"] = True
        if rng.random() < 0.15:
            extra[rng.choice(["cancel_on_payment", "cancel_on_reschedule"])] = True
        return make(account, price, quantity, loan_id=loan.terms.loan_id, **extra)

    def _cancel(self) -> Command:
        if not self.plain.orders:
            return self._cash()
        order = self.rng.choice(list(self.plain.orders.values()))
        return cancel(order.account, order.order_id)

    def _roll(self) -> Command:
        return RollDay(to=self.plain.today + timedelta(1 if self.has_pegs else self.rng.randint(1, 12)))

    def _service(self) -> Command:
        """Mostly one event; also lists, events that were booked before, and others under a used id."""
        rng = self.rng
        events = [self._event() for _ in range(1 if self.has_pegs else rng.choice([1, 1, 1, 2, 4]))]
        if self.plain.events and rng.random() < 0.04:
            again = rng.choice(list(self.plain.events.values()))
            events.append(again if rng.random() < 0.7 else replace(again, value_date=again.value_date + timedelta(1)))
        return service(*events)

    def _event(self) -> ServicingEvent:
        rng, today = self.rng, self.plain.today
        written_off = [loan for loan in self.plain.loans.values() if loan.status == "written_off"]
        loan = rng.choice(written_off if written_off and rng.random() < 0.1 else self._living())
        on = today - timedelta(rng.choice([0] * 8 + [rng.randint(1, 20)]))
        kind = rng.choices(list(SERVICING), weights=list(SERVICING.values()))[0]
        if loan.status in ("late", "default", "written_off") and rng.random() < 0.4:
            kind = "recovery"
        if kind == "payment" and loan.due(on) and rng.random() < 0.1:
            kind = "missed"
        amount, given = self._money(loan, kind, on)
        return ServicingEvent(
            event_id=self._next("e"),
            loan_id=loan.terms.loan_id,
            type=ServicingType(kind),
            value_date=on,
            amount=None if amount is None else Minor(amount),
            **given,
        )

    def _money(self, loan: PlainLoan, kind: str, on: date) -> tuple[int | None, dict[str, Any]]:
        """Return (amount, what else is given): mostly what is owed, whole or in part, sometimes what can't be."""
        rng, given = self.rng, dict[str, Any]()
        row = loan.rows[0] if loan.rows else Row(on, 0, 1)
        whole = row.interest + row.principal
        if kind == "reschedule":
            return None, {"schedule": tuple(self._new_rows(loan, on))}
        if kind in ("missed", "default", "write_off"):
            return None, given
        if kind in ("prepayment", "buyback"):
            exact = loan.outstanding + loan.interest_to(on)
            return rng.choice([None, exact, exact, exact + rng.randint(-2, 2), loan.outstanding]), given
        due = sum(row.interest + row.principal for row in loan.due(on))
        part, extra = rng.randint(1, max(1, whole)), rng.randint(1, loan.outstanding // 4 + 1)
        amount = rng.choice([*[whole] * 6, due or whole, part, part, rng.randint(1, 20), whole + extra])
        if rng.random() < 0.01:
            amount = rng.choice([loan.outstanding + loan.interest_to(on), 2 * loan.outstanding + 1, 0])
        if kind == "recovery" and rng.random() < 0.6:
            given["costs"] = Minor(rng.randint(0, amount // 3 + 1))
        if rng.random() < 0.25:
            interest = Minor(rng.randint(0, min(amount, row.interest + 50)))
            rest = Minor(max(0, amount - interest - given.get("costs", 0)))
            split = {"interest": interest, "principal": rest}
            given |= rng.choice([{"interest": interest}, {"principal": rest}, split])
        return amount, given

    def _new_rows(self, loan: PlainLoan, on: date) -> Iterator[NewRow]:
        rng, due, rows = self.rng, on, self.rng.randint(1, 5)
        capitalised = rng.choice([0, 0, loan.interest_to(on), rng.randint(0, loan.terms.original_principal // 10)])
        left = loan.outstanding + capitalised
        for n in range(rows):
            due += timedelta(rng.randint(1, 60))
            part = left if n == rows - 1 else rng.randint(0, left // 2)
            left -= part
            interest = Minor(rng.randint(0, loan.outstanding // 50 + 1))
            yield NewRow(due_date=due, interest=interest, principal=Minor(part))


def order_of(command: PlaceOrder, rests: Order | None = None) -> PlainOrder:
    """The order as it was asked for, or as it rests after its first fills."""
    return PlainOrder(
        order_id=0 if rests is None else int(rests.order_id),
        account=command.account_id,
        loan_id=command.loan_id,
        is_buy=command.side is Side.BUY,
        price=int(command.price or 0) if rests is None else int(rests.price),
        leaves=int(command.quantity) if rests is None else int(rests.leaves),
        is_day=command.time_in_force is TimeInForce.DAY,
        on_payment=command.cancel_on_payment,
        on_reschedule=command.cancel_on_reschedule,
        yield_ppm=command.limit_yield_ppm if command.pegged else None,
        fills=0 if rests is None or not rests.filled else 10,
    )


def run(seed: int, events: int = EVENTS) -> Counter[str]:
    """Play one world and return what was seen; AssertionError names seed and event of the first difference."""
    world = ExactWorld(seed)
    while world.seen["events"] < events:
        try:
            world.step()
        except Exception as e:
            raise AssertionError(f"seed {seed}, event {world.seen['events']}: {e}") from e
    venue = world.venue
    restored = Venue.restore(venue.seq, venue.snapshot(), last_trade_id=venue.state.last_trade_id)
    same(restored.state_hash(), venue.state_hash(), f"seed {seed}: the state after a rebuild")
    return world.seen


def run_worlds(seed: int, events: int, say: Callable[[str], None] = print) -> None:
    """Play as many worlds as `events` take, with a line every hundred of them."""
    worlds, seen = -(-events // EVENTS), Counter[str]()
    for number in range(1, worlds + 1):
        seen += run(seed + number - 1)
        if number % 100 == 0 or number == worlds:
            counted = (
                f"{seen['trades']} trades, {seen['servicing events']} servicing events, {seen['refused']} refusals"
            )
            say(f"exact: {number} worlds, {seen['events']} events ({counted}), not a cent of difference after any")
