"""Several engines as one, for the edge: each command goes to the partition that it is about, or to all.

What names a loan goes where the loan is; what names an order goes where its number was given. What all must know goes
to partition 0 first, whose refusal nobody else hears, and then to the others; the engine of one that is away, or whose
gateway broke off in the middle, brings itself to where partition 0 is before it takes an order. What no engine finds
out by itself is refused while one is away. Mass quotes and cancels over several partitions are split, answered once.

Listeners hear each partition in order, and nothing is said of the order between two: whose commit it was is told by its
number.
"""

from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import Any, Final

from market.commands import (
    AmendOrder,
    AssignRulebook,
    CancelAll,
    CancelOrder,
    CancelQuotes,
    CheckOrder,
    Command,
    DefineRulebook,
    Deposit,
    FreezeAccount,
    HaltLoan,
    IssueFace,
    MassQuote,
    OpenAccount,
    OpenMarket,
    PlaceOrder,
    RegisterLoan,
    ResetMmp,
    ResolveOrder,
    RollDay,
    ServiceLoan,
    SetDefaultRulebook,
    SetMmp,
    SetMode,
    Unblock,
    Withdraw,
)
from market.errors import Busy, DuplicateId, InvalidArguments, MarketError, OutcomeUnknown, Unavailable
from market.ids import LoanId, OrderId, Seq
from market.partitions import partition_of
from market.port import Answer, EnginePort, Follower, Phase, Reply
from market.routing.answers import Collected, Told, all_of, whoever_knows
from market.routing.cash import CashMoves
from market.routing.known import Ear
from market.routing.paying import Paid, Payer
from market.routing.quoting import Quoting

ARRIVE_S: Final = 5.0
FOLLOWED: Final = (  # what the later partitions find out by themselves
    OpenMarket, OpenAccount, FreezeAccount, DefineRulebook, SetDefaultRulebook, SetMode, RollDay, SetMmp,
)  # fmt: skip
FOR_ALL: Final = (*FOLLOWED, ResetMmp, Unblock)
TAKES_OUT: Final = (CancelOrder, CancelAll, CancelQuotes, MassQuote, ResolveOrder)  # ends what of its account waits


class Router(EnginePort):
    """ports: of the partitions, in order; they must not run yet.  arrive_s: how long cash may be on its way."""

    def __init__(self, ports: Sequence[EnginePort], *, arrive_s: float = ARRIVE_S) -> None:
        self._ports = list(ports)
        moves = CashMoves(self._ports, arrive_s=arrive_s)
        self._known = moves.known
        self._payer = Payer(self._ports, moves)
        self._quoting = Quoting(self._ports, self._payer)
        self._group: set[int] = set()  # partitions that have got something of the commands that are joined now
        for partition, port in enumerate(self._ports):
            port.listen(Ear(partition, self._known))

    @property
    def phase(self) -> Phase:  # type: ignore[override]  # nobody sets it
        """Online as long as one partition is: its loans are traded."""
        phases = self.phases
        return Phase.ONLINE if Phase.ONLINE in phases else phases[0]

    @property
    def seq(self) -> Seq:  # type: ignore[override]
        return self._ports[0].seq

    @property
    def epoch(self) -> int:
        return self._ports[0].epoch

    @property
    def parts(self) -> Sequence[EnginePort]:
        return self._ports

    def listen(self, listener: Follower) -> None:
        for port in self._ports:
            port.listen(listener)

    async def online(self) -> None:
        """Wait until every partition takes commands."""
        for port in self._ports:
            await port.online()

    def send(self, command: Command, *, actor: str, reply: Reply, joined: bool = False) -> None:
        if not joined:
            self._group.clear()
        if isinstance(command, TAKES_OUT):
            self._payer.take_out(command.account_id)
        match command:
            case PlaceOrder():
                self._send_to(self._where_free(command), command, actor, reply, joined)
            case CheckOrder():
                self._send_to(self._where_free(command.order), command, actor, reply, joined)
            case IssueFace() | HaltLoan() | AssignRulebook():
                self._send_to(self._known.where(command.loan_id), command, actor, reply, joined)
            case RegisterLoan():
                self._send_to(self._known.where(command.terms.loan_id), command, actor, reply, joined)
            case AmendOrder() | CancelOrder():
                self._send_to_order(command, actor, reply, joined)
            case Deposit() | Withdraw():
                self._send_to(0, command, actor, reply, joined)
            case MassQuote():
                self._quoting.send(command, actor, reply)
            case CancelAll() | CancelQuotes():
                self._cancel(command, actor, reply, joined)
            case ResolveOrder():
                self._spread(dict.fromkeys(range(len(self._ports)), command), actor, reply, all_of, joined)
            case ServiceLoan():
                self._send_to(self._where_all(command), command, actor, reply, joined)
            case _ if isinstance(command, FOR_ALL):
                self._send_to_all(command, actor, reply)
            case _:
                raise InvalidArguments(f"{type(command).__name__} is no command of the edge")

    async def stop(self) -> None:
        """End what waits for cash: it is answered as not executed."""
        await self._payer.stop()

    # Where to

    def _where_free(self, order: PlaceOrder) -> int:
        """Return the partition of an order's loan. Raises DuplicateId if an open order of another one has its name.

        Each ledger knows the names that were used in it, for good; those of the others are known here while the order
        is open, which is as long as it can be cancelled or amended by its name.
        """
        where = self._known.where(order.loan_id)
        other = self._known.order_named(order.account_id, order.client_order_id)
        if other is not None and self._of_number(other) != where:
            raise DuplicateId("this cl_ord_id was used for another order", field="cl_ord_id")
        return where

    def _where_all(self, command: ServiceLoan) -> int:
        """Return the one partition of all loans. Raises InvalidArguments, which says where each of several is."""
        found = [self._known.where(event.loan_id) for event in command.events]
        if len(set(found)) > 1:
            raise InvalidArguments(
                "events: their loans are of several partitions, which book nothing together: send a list for each",
                field="events",
                partitions=" ".join(map(str, found)),
            )
        return found[0] if found else 0

    def _of_number(self, order_id: OrderId) -> int:
        """Return the partition that an order's number is of; 0, which will not know it, for one that is nowhere."""
        where = partition_of(order_id)
        return where if 0 <= where < len(self._ports) else 0

    # To one

    def _send_to(self, where: int, command: Command, actor: str, reply: Reply, joined: bool) -> None:
        told = self._payer.paying(where, command, actor, reply) if isinstance(command, Paid) else reply
        self._port(where, command, actor, told, joined)

    def _port(self, where: int, command: Command, actor: str, reply: Reply, joined: bool) -> None:
        """Send; joined to the command before it if that went to the same partition."""
        self._ports[where].send(command, actor=actor, reply=reply, joined=joined and where in self._group)
        self._group.add(where)

    def _send_to_order(self, command: AmendOrder | CancelOrder, actor: str, reply: Reply, joined: bool) -> None:
        order_id = command.order_id or self._known.order_named(command.account_id, command.client_order_id)
        if order_id is not None:
            self._send_to(self._of_number(order_id), command, actor, reply, joined)
        else:
            self._spread(dict.fromkeys(range(len(self._ports)), command), actor, reply, whoever_knows, joined)

    # To several

    def _send_to_all(self, command: Command, actor: str, reply: Reply) -> None:
        """Send to partition 0, and once that has carried it out to the others."""
        is_followed = isinstance(command, FOLLOWED) and not getattr(command, "move", False)
        if not is_followed:
            self._require_all()
        others = range(1, len(self._ports))
        context = copy_context()

        def told(answer: Told) -> None:
            if isinstance(answer, MarketError):
                reply(answer)
            else:
                context.run(self._spread, dict.fromkeys(others, command), actor, reply, combined(answer))

        def combined(first: Answer) -> Callable[[dict[int, Told]], Told]:
            def combine(rest: dict[int, Told]) -> Told:
                if is_followed:
                    rest = {where: first if _is_done_later(command, each) else each for where, each in rest.items()}
                return all_of({0: first, **rest})

            return combine

        self._ports[0].send(command, actor=actor, reply=told)

    def _require_all(self) -> None:
        """Raises Unavailable if a partition is away."""
        away = [str(where) for where, phase in enumerate(self.phases) if phase is not Phase.ONLINE]
        if away:
            raise Unavailable(f"this must reach the whole market, and partition {', '.join(away)} is away")

    def _cancel(self, command: CancelAll | CancelQuotes, actor: str, reply: Reply, joined: bool) -> None:
        everywhere = range(len(self._ports))
        if isinstance(command, CancelAll):
            if command.loan_id is not None and not command.block:
                self._send_to(self._known.where(command.loan_id), command, actor, reply, joined)
            else:
                self._spread(dict.fromkeys(everywhere, command), actor, reply, all_of, joined)
        elif command.loan_ids is None:
            self._spread(dict.fromkeys(everywhere, command), actor, reply, all_of, joined)
        else:
            parts: dict[int, list[LoanId]] = {}
            for loan_id in command.loan_ids:
                parts.setdefault(self._known.where(loan_id), []).append(loan_id)
            split = {k: replace(command, loan_ids=tuple(loan_ids)) for k, loan_ids in parts.items()}
            self._spread(split or {0: command}, actor, reply, all_of, joined)

    def _spread(
        self,
        commands: dict[int, Any],
        actor: str,
        reply: Reply,
        combine: Callable[[dict[int, Told]], Told],
        joined: bool = False,
    ) -> None:
        """Send each partition its command at once, and reply once with what all have said.

        A partition that takes none has said so; so this raises nothing.
        """
        collected = Collected(list(commands), lambda told: reply(combine(told)))
        for where, command in commands.items():
            try:
                self._port(where, command, actor, partial(collected.tell, where), joined)
            except MarketError as error:
                collected.tell(where, error)


def _is_done_later(command: Command, told: Told) -> bool:
    """Whether a partition does by itself what partition 0 has done, or has just done so."""
    if isinstance(command, RollDay) and isinstance(told, InvalidArguments):
        return True
    return isinstance(told, Unavailable | Busy | OutcomeUnknown)
