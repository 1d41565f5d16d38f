"""Cash that moves between the partitions of one market: each ledger keeps a line of it for every account.

A move leaves one ledger with SendCash and arrives at another with ReceiveCash. In between it is on the way: the ledger
account TRANSIT has it, so that each ledger sums to zero at every moment. A move is known by its id: sent once, received
once, however often either is repeated. Nothing holds cash that is on the way, so nothing can be bought with it twice.

What is remembered of moves is bounded. Of those that were sent, the latest: an older one that is sent again, which
nobody does, is refused by the ledger's key. Of those that were received, what is behind the first that its sender sent
and that is still due: all before that have come, which is known by their place in the sender's log.
"""

from market.commands import Done, ReceiveCash, SendCash
from market.errors import DuplicateId, InvalidArguments
from market.events import CashReceived, CashSent
from market.ids import Currency
from market.partitions import PARTITIONS_MAX, partition_of
from market.settlement.journal import TRANSIT, EntryKind, Leg, Posting, Unit
from market.venue.changes import Changes
from market.venue.state import Account, State

MOVE_ID_MAX = 64  # characters
SENT_MAX = 1_000  # moves that are remembered as sent


def send_cash(state: State, command: SendCash, changes: Changes) -> Done:
    """Take cash that no order holds out of the account's line here. Raises InsufficientFunds, DuplicateId."""
    here = partition_of(changes.seq)
    _check(command, other=command.to, here=here, field="to")
    content = (command.account_id, command.currency, command.amount, command.to)
    if (sent := state.sent.get(command.move_id)) is not None:
        return _repeat((sent.account_id, sent.currency, sent.amount, sent.to) == content)
    account = state.account(command.account_id)
    account.require_cash(command.currency, command.amount)
    sent = CashSent(
        move_id=command.move_id,
        account_id=account.account_id,
        currency=command.currency,
        amount=command.amount,
        to=command.to,
    )
    remember_sent(state, sent)
    changes.facts.append(sent)
    _move(state, account, command.currency, -command.amount, f"to {command.to} {command.move_id}", changes)
    return Done()


def receive_cash(state: State, command: ReceiveCash, changes: Changes) -> Done:
    """Add what another ledger sent to the account's line here.

    Whoever submits it must have read the move in the sender's ledger, where it is durable.
    """
    here = partition_of(changes.seq)
    _check(command, other=command.sender, here=here, field="sender")
    if not 0 <= command.all_before <= command.sent_seq:
        raise InvalidArguments("all_before must be at most sent_seq", field="all_before")
    if command.sent_seq < state.received_before.get(command.sender, 0):
        return Done(duplicate=True)
    content = (command.account_id, command.currency, command.amount)
    key = (command.sender, command.move_id)
    if (done := state.received.get(key)) is not None:
        return _repeat((done.account_id, done.currency, done.amount) == content)
    account = state.account(command.account_id)
    received = CashReceived(
        sender=command.sender,
        move_id=command.move_id,
        account_id=account.account_id,
        currency=command.currency,
        amount=command.amount,
        sent_seq=command.sent_seq,
        all_before=command.all_before,
    )
    remember_received(state, received)
    changes.facts.append(received)
    _move(state, account, command.currency, command.amount, f"from {command.sender} {command.move_id}", changes)
    return Done()


def remember_sent(state: State, sent: CashSent) -> None:
    state.sent[sent.move_id] = sent
    if len(state.sent) > SENT_MAX:
        del state.sent[next(iter(state.sent))]


def remember_received(state: State, received: CashReceived) -> None:
    """Remember a receipt, and of its sender no longer what is before what it says that all of is received."""
    sender = received.sender
    state.received[sender, received.move_id] = received
    if received.all_before > state.received_before.get(sender, 0):
        state.received_before[sender] = received.all_before
        for key, each in list(state.received.items()):
            if each.sender == sender and each.sent_seq < received.all_before:
                del state.received[key]


def _check(command: SendCash | ReceiveCash, *, other: int, here: int, field: str) -> None:
    if not 1 <= len(command.move_id) <= MOVE_ID_MAX:
        raise InvalidArguments(f"move_id must be 1 to {MOVE_ID_MAX} characters", field="move_id")
    if command.amount <= 0:
        raise InvalidArguments("amount must be more than 0", field="amount")
    if other == here or not 0 <= other < PARTITIONS_MAX:
        raise InvalidArguments(f"{field} must be another partition than {here}", field=field)


def _repeat(is_same: bool) -> Done:
    if not is_same:
        raise DuplicateId("this move_id was used before with other content", field="move_id")
    return Done(duplicate=True)


def _move(state: State, account: Account, currency: Currency, amount: int, reference: str, changes: Changes) -> None:
    """amount: from the account's view."""
    line = account.cash[currency]
    line.total += amount
    line.moved += amount
    state.moved[currency] += amount
    changes.post(
        EntryKind.CASH_MOVE,
        reference,
        Posting(account.account_id, Unit.CASH, currency, Leg.TRANSIT, amount),
        Posting(TRANSIT, Unit.CASH, currency, Leg.TRANSIT, -amount),
    )
    changes.cash(account, currency)
