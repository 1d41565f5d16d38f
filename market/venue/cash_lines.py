"""Cash that moves between the partitions of one market: each ledger keeps a line of it for every account.

A move leaves one ledger with SendCash and arrives at another with ReceiveCash. In between it is on the way: the ledger
account TRANSIT has it, so that each ledger sums to zero at every moment. A move is known by its id: sent once, received
once, however often either is repeated. Nothing holds cash that is on the way, so nothing can be bought with it twice.
"""

from market.commands import Done, ReceiveCash, SendCash
from market.errors import DuplicateId, InsufficientFunds, InvalidArguments
from market.events import CashReceived, CashSent
from market.ids import Currency
from market.partitions import PARTITIONS_MAX, partition_of
from market.settlement.journal import TRANSIT, EntryKind, Leg, Posting, Unit
from market.venue.changes import Changes
from market.venue.state import Account, State

MOVE_ID_MAX = 64  # characters


def send_cash(state: State, command: SendCash, changes: Changes) -> Done:
    """Take cash that no order holds out of the account's line here. Raises InsufficientFunds, DuplicateId."""
    here = partition_of(changes.seq)
    _check(command, other=command.to, here=here, field="to")
    content = (command.account_id, command.currency, command.amount, command.to)
    if (sent := state.sent.get(command.move_id)) is not None:
        return _repeat((sent.account_id, sent.currency, sent.amount, sent.to) == content)
    account = state.account(command.account_id)
    available = account.available_cash(command.currency)
    if available < command.amount:
        raise InsufficientFunds(
            "available cash is less",
            field="amount",
            have=available,
            need=command.amount,
            currency=command.currency,
        )
    sent = CashSent(
        move_id=command.move_id,
        account_id=account.account_id,
        currency=command.currency,
        amount=command.amount,
        to=command.to,
    )
    state.sent[command.move_id] = sent
    changes.facts.append(sent)
    _move(account, command.currency, -command.amount, f"to {command.to} {command.move_id}", changes)
    return Done()


def receive_cash(state: State, command: ReceiveCash, changes: Changes) -> Done:
    """Add what another ledger sent to the account's line here.

    Whoever submits it must have read the move in the sender's ledger, where it is durable.
    """
    here = partition_of(changes.seq)
    _check(command, other=command.sender, here=here, field="sender")
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
    )
    state.received[key] = received
    changes.facts.append(received)
    _move(account, command.currency, command.amount, f"from {command.sender} {command.move_id}", changes)
    return Done()


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


def _move(account: Account, currency: Currency, amount: int, reference: str, changes: Changes) -> None:
    """amount: from the account's view."""
    line = account.cash[currency]
    line.total += amount
    line.moved += amount
    changes.post(
        EntryKind.CASH_MOVE,
        reference,
        Posting(account.account_id, Unit.CASH, currency, Leg.TRANSIT, amount),
        Posting(TRANSIT, Unit.CASH, currency, Leg.TRANSIT, -amount),
    )
    changes.cash(account, currency)
