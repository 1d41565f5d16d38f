"""Market-maker protection: after so many fills in so short a time all quotes of a group leave, in that very command.

Time is the command's stamp, so that a replay is triggered by the same fill. Limits, and that a group is frozen, last
until their owner says otherwise; the fills that count are forgotten with the quotes, when memory is rebuilt.
"""

from market.commands import Done, ResetMmp, SetMmp
from market.errors import InvalidArguments
from market.events import MmpChanged
from market.ids import AccountId, Face
from market.orderbook.order import CancelReason, Order, OrderStatus
from market.venue.changes import Changes
from market.venue.guard import Guard
from market.venue.lifecycle import end_all
from market.venue.state import Account, State

GROUPS_MAX = 1_000  # of one account
WINDOW_MAX = 3_600 * 10**9  # an hour, in nanoseconds


def set_mmp(state: State, command: SetMmp, changes: Changes) -> Done:
    """Counting begins anew. A group that is frozen stays so."""
    account = state.account(command.account_id)
    if command.max_fills is None and command.max_face is None:
        raise InvalidArguments("max_fills or max_face, at least one of them", field="max_fills")
    for name, bound in (("max_fills", command.max_fills), ("max_face", command.max_face)):
        if bound is not None and bound <= 0:
            raise InvalidArguments(f"{name} must be more than 0", field=name)
    if not 0 < command.window <= WINDOW_MAX:
        raise InvalidArguments("window_ms must be from 1 to 3600000", field="window_ms")
    former = account.guards.get(command.group)
    if former is None and len(account.guards) >= GROUPS_MAX:
        raise InvalidArguments(f"at most {GROUPS_MAX} groups", field="group")
    guard = Guard(
        account_id=account.account_id,
        group=command.group,
        max_fills=command.max_fills,
        max_face=command.max_face,
        window=command.window,
        frozen=former is not None and former.frozen,
    )
    account.guards[command.group] = guard
    changes.facts.append(mmp_changed(guard))
    return Done()


def reset_mmp(state: State, command: ResetMmp, changes: Changes) -> Done:
    """Let quotes of the group in again, and begin to count anew."""
    guard = state.account(command.account_id).guards.get(command.group)
    if guard is None:
        raise InvalidArguments("there is no such group: set_mmp makes one", field="group")
    if not guard.frozen and not guard.fills:
        return Done(duplicate=True)
    guard.frozen = False
    guard.fills.clear()
    changes.facts.append(mmp_changed(guard))
    return Done()


def guard_of(account: Account, order: Order) -> Guard | None:
    """Return what watches over an order: nothing, but for quotes of a group that has limits."""
    if order.quote is None or order.quote.mmp_group is None:
        return None
    return account.guards.get(order.quote.mmp_group)


def mmp_changed(guard: Guard) -> MmpChanged:
    return MmpChanged(
        account_id=guard.account_id,
        group=guard.group,
        max_fills=guard.max_fills,
        max_face=guard.max_face,
        window=guard.window,
        frozen=guard.frozen,
    )


class Watch:
    """The guards that one incoming order may trigger: first foreseen while it is planned, then counted as it trades."""

    def __init__(self, state: State, changes: Changes) -> None:
        self._state = state
        self._changes = changes
        self._foreseen: dict[tuple[AccountId, str], tuple[int, int]] = {}  # fills and their face
        self._triggered: list[Guard] = []

    def would_trip(self, quote: Order) -> bool:
        """Whether the fills planned so far trigger the quote's guard: then it has no further one."""
        guard = guard_of(self._state.accounts[quote.account_id], quote)
        if guard is None or (foreseen := self._foreseen.get((guard.account_id, guard.group))) is None:
            return False
        return guard.is_due(self._changes.at, more_fills=foreseen[0], more_face=foreseen[1])

    def foresee(self, order: Order, face: Face) -> None:
        if (guard := guard_of(self._state.accounts[order.account_id], order)) is not None:
            key = guard.account_id, guard.group
            fills, before = self._foreseen.get(key, (0, 0))
            self._foreseen[key] = fills + 1, before + face

    def count(self, order: Order, face: Face) -> None:
        """A fill has happened."""
        guard = guard_of(self._state.accounts[order.account_id], order)
        if guard is None:
            return
        guard.fills.append((self._changes.at, face))
        if not guard.frozen and guard.is_due(self._changes.at):
            guard.frozen = True
            self._triggered.append(guard)

    def withdraw(self) -> None:
        """Take all that is left of the groups that were triggered out of the books."""
        for guard in self._triggered:
            guard.fills.clear()
            self._changes.facts.append(mmp_changed(guard))
            quotes = self._state.accounts[guard.account_id].quotes.values()
            left = [order for order in quotes if order.quote is not None and order.quote.mmp_group == guard.group]
            end_all(self._state, left, OrderStatus.CANCELED, CancelReason.MMP, self._changes)
        self._triggered.clear()
