"""Rulebooks as the operator sets them: defined, given to loans, given to all that an originator will register.

Whatever changes by which rules a loan trades is judged at once: its resting orders stay only if they would be admitted.
"""

from collections.abc import Iterable

from market.claims.loan import LIVE_STATUSES
from market.commands import AccountKind, AssignRulebook, DefineRulebook, Done, SetDefaultRulebook
from market.errors import InvalidArguments
from market.events import RulebookChanged
from market.venue.changes import Changes
from market.venue.review import rejudge
from market.venue.rulebook import Rulebook
from market.venue.state import Loan, State


def define_rulebook(state: State, command: DefineRulebook, changes: Changes) -> Done:
    """Loans that are finished change with the others: what they show is what their rulebook says."""
    rules = command.rulebook
    if state.rulebooks.get(rules.name) == rules:
        return Done(duplicate=True)
    state.rulebooks[rules.name] = rules
    changes.facts.append(RulebookChanged(rulebook=rules))
    _put_under(state, rules, (loan for loan in state.loans.values() if loan.rulebook.name == rules.name), changes)
    return Done()


def assign_rulebook(state: State, command: AssignRulebook, changes: Changes) -> Done:
    loan, rules = state.loan(command.loan_id), _named(state, command.rulebook)
    if loan.rulebook == rules:
        return Done(duplicate=True)
    _put_under(state, rules, [loan], changes)
    return Done()


def set_default_rulebook(state: State, command: SetDefaultRulebook, changes: Changes) -> Done:
    account = state.account(command.account_id)
    if account.kind is not AccountKind.ORIGINATOR:
        raise InvalidArguments("account_id must be an originator's", field="account_id")
    if command.move and command.rulebook is None:
        raise InvalidArguments("move_loans needs a rulebook to move them to", field="move_loans")
    loans: list[Loan] = []
    if command.rulebook is not None:
        rules = _named(state, command.rulebook)
        loans = [loan for loan in state.loans.values() if command.move and _moves(loan, command, rules)]
        _put_under(state, rules, loans, changes)
    if account.default_rulebook != command.rulebook:
        account.default_rulebook = command.rulebook
        changes.account(account)
    elif not loans:
        return Done(duplicate=True)
    return Done()


def _moves(loan: Loan, command: SetDefaultRulebook, rules: Rulebook) -> bool:
    is_his = loan.terms.originator == command.account_id
    return is_his and loan.status in LIVE_STATUSES and loan.rulebook.name != rules.name


def _named(state: State, name: str) -> Rulebook:
    if name not in state.rulebooks:
        raise InvalidArguments(f"rulebook must be one of {', '.join(sorted(state.rulebooks))}", field="rulebook")
    return state.rulebooks[name]


def _put_under(state: State, rules: Rulebook, loans: Iterable[Loan], changes: Changes) -> None:
    moved = list(loans)
    for loan in moved:
        loan.rulebook, loan.day = rules, None  # the day's price cap is of the rulebook
        changes.loan(loan)
    rejudge(state, moved, changes)
