"""The operator's calls. Each records who asked and why, and answers with the `engine_seq` that made it so."""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from aiohttp import web

from gateway.answers.access import AdminKey, NewUserOut
from gateway.answers.administration import (
    Account,
    AssignedRulebook,
    DefaultRulebookSet,
    DefinedRulebook,
    FrozenAccount,
    Halt,
    HaltedLoan,
    IssuedFace,
    ModeSet,
    MovedCash,
    OpenedAccount,
    RegisteredLoan,
    RolledDay,
    ServicedList,
    ServicedOne,
)
from gateway.answers.fields import Page
from gateway.reads.halts import halts
from gateway.reads.schemas import account_object
from gateway.requests.access import NewApiKey, NewUser
from gateway.requests.administration import CashMovement, DayRoll, NewAccount, NewMode, freeze_command
from gateway.requests.fields import Empty
from gateway.requests.loans import NewFace, NewLoan, RulebookChoice, ServicingBody, ServicingList, halt_command
from gateway.requests.rulebooks import DefaultRulebook, RulebookBody
from gateway.rest.api import PAGE, Access, Call, Doc, Handler, Route, cursor_of, page, reply
from market.commands import Command, Done, OpenAccount, RegisterLoan, ServicingAck
from market.errors import (
    AccountFrozen,
    DuplicateId,
    InsufficientFunds,
    InvalidArguments,
    InvalidQuantity,
    InvariantViolation,
    LoanClosed,
    NotTransferable,
    RuleViolation,
    UnknownAccount,
    UnknownLoan,
)
from market.ids import AccountId
from market.port import Answer

ROLL_MAX = timedelta(days=3_660)


async def _create(call: Call, command: Command, about: Mapping[str, Any], location: str | None = None) -> web.Response:
    """Carry out a creation: 201 the first time, 200 for a repeat. about: what the answer says beside that."""
    answer = await call.submit(command)
    duplicate = _done(answer).duplicate
    status = HTTPStatus.OK if duplicate else HTTPStatus.CREATED
    headers = {} if location is None else {"Location": location}
    return reply({**about, "engine_seq": answer.seq, "duplicate": duplicate}, status=status, headers=headers)


async def _act(call: Call, command: Command, about: Mapping[str, Any]) -> web.Response:
    """Carry out an action: always 200."""
    answer = await call.submit(command)
    return reply({**about, "engine_seq": answer.seq, "duplicate": _done(answer).duplicate})


def _done(answer: Answer) -> Done:
    if not isinstance(answer.result, Done):
        raise InvariantViolation(f"an admin command was answered with {answer.result}")
    return answer.result


async def open_account(call: Call) -> web.Response:
    command: OpenAccount = call.parsed(NewAccount).to_command()
    about = {"account_id": command.account_id, "kind": command.kind, "name": command.name}
    return await _create(call, command, about, f"/v1/admin/accounts/{command.account_id}")


async def list_accounts(call: Call) -> web.Response:
    accounts = call.api.views.accounts
    [after] = call.query.cursor(str) or [""]
    limit = call.query.limit()
    ids = sorted(account_id for account_id in accounts if account_id > after)
    more = cursor_of(ids[limit - 1]) if len(ids) > limit else None
    return page([account_object(accounts[account_id]) for account_id in ids[:limit]], more)


async def get_account(call: Call) -> web.Response:
    return reply(account_object(call.api.views.account(AccountId(call.path("account_id")))))


async def new_key(call: Call) -> web.Response:
    wanted = call.parsed(NewApiKey)
    account = call.api.views.account(AccountId(call.path("account_id")))
    made = await call.api.keys.create(account.account_id, wanted, created_by=call.principal.key)
    body = {**made.shown(), "secret": made.secret, "engine_seq": call.api.views.engine_seq}
    return reply(body, status=HTTPStatus.CREATED)


async def new_user(call: Call) -> web.Response:
    wanted = call.parsed(NewUser)
    view = call.api.views.account(AccountId(wanted.account_id))

    async def account() -> AccountId:
        return view.account_id

    user = await call.api.sessions.add_user(
        wanted.login,
        wanted.password,
        frozenset(wanted.scopes),
        account=account,
        by=call.principal.key,
        reason=wanted.reason,
    )
    about = {"user_id": user.user_id, "login": user.login, "account_id": user.account_id, "scopes": sorted(user.scopes)}
    return reply(about, status=HTTPStatus.CREATED)


def _freezing(*, frozen: bool) -> Handler:
    async def freeze(call: Call) -> web.Response:
        account_id = call.path("account_id")
        command = freeze_command(call.parsed(Empty), account_id, frozen=frozen)
        return await _act(call, command, {"account_id": account_id, "frozen": frozen})

    return freeze


async def deposit(call: Call) -> web.Response:
    movement = call.parsed(CashMovement)
    return await _create(call, movement.to_deposit(), _about_cash(call))


async def withdraw(call: Call) -> web.Response:
    movement = call.parsed(CashMovement)
    return await _create(call, movement.to_withdrawal(), _about_cash(call))


def _about_cash(call: Call) -> dict[str, Any]:
    return {name: call.body[name] for name in ("account_id", "currency", "custody_ref")}


async def register_loan(call: Call) -> web.Response:
    command: RegisterLoan = call.parsed(NewLoan).to_command()
    loan_id = command.terms.loan_id
    return await _create(call, command, {"loan_id": loan_id, "status": command.status}, f"/v1/loans/{loan_id}")


async def issue(call: Call) -> web.Response:
    loan_id = call.path("loan_id")
    return await _act(call, call.parsed(NewFace).to_command(loan_id), {"loan_id": loan_id})


async def assign_rulebook(call: Call) -> web.Response:
    loan_id, choice = call.path("loan_id"), call.parsed(RulebookChoice)
    return await _act(call, choice.to_command(loan_id), {"loan_id": loan_id, "rulebook": choice.rulebook})


async def define_rulebook(call: Call) -> web.Response:
    name = call.path("name")
    return await _act(call, call.parsed(RulebookBody).to_command(name), {"name": name})


async def set_default_rulebook(call: Call) -> web.Response:
    account_id, wanted = call.path("account_id"), call.parsed(DefaultRulebook)
    about = {"account_id": account_id, "default_rulebook": wanted.rulebook}
    return await _act(call, wanted.to_command(account_id), about)


def _halting(*, halted: bool) -> Handler:
    async def halt(call: Call) -> web.Response:
        loan_id = call.path("loan_id")
        command = halt_command(call.parsed(Empty), loan_id, halted=halted)
        return await _act(call, command, {"loan_id": loan_id, "halted": halted})

    return halt


async def list_halts(call: Call) -> web.Response:
    [after] = call.query.cursor(str) or [""]
    limit = call.query.limit()
    loans = call.api.views.loans
    ids = sorted(id_ for id_, loan in loans.items() if loan.state.halt_reason is not None and id_ > after)
    rows = await halts(call.api.pool, [loans[loan_id] for loan_id in ids[:limit]])
    return page(rows, cursor_of(ids[limit - 1]) if len(ids) > limit else None)


async def service(call: Call) -> web.Response:
    """One event, or a list of which all are booked or none: 201 unless every one of them was booked before."""
    is_list = "events" in call.body
    wanted = call.parsed(ServicingList) if is_list else ServicingList(events=[call.parsed(ServicingBody)])
    answer = await call.submit(wanted.to_command())
    if not isinstance(answer.result, ServicingAck):
        raise InvariantViolation(f"servicing was answered with {answer.result}")
    duplicates = answer.result.duplicates
    items = [
        {"event_id": event.event_id, "loan_id": event.loan_id, "type": event.type, "duplicate": duplicate}
        for event, duplicate in zip(wanted.events, duplicates, strict=True)
    ]
    whole = {"items": items, "duplicate": all(duplicates)} if is_list else items[0]
    status = HTTPStatus.OK if all(duplicates) else HTTPStatus.CREATED
    return reply({**whole, "engine_seq": answer.seq}, status=status)


async def set_mode(call: Call) -> web.Response:
    command = call.parsed(NewMode).to_command()
    return await _act(call, command, {"mode": command.mode})


async def roll_day(call: Call) -> web.Response:
    """The engine walks through every day in between while all else waits, so a slip of the year must not get there."""
    command = call.parsed(DayRoll).to_command()
    if command.to > call.api.views.business_date + ROLL_MAX:
        raise InvalidArguments(f"to: at most {ROLL_MAX.days} days at once", field="to")
    return await _act(call, command, {"business_date": command.to.isoformat()})


CASH_EXAMPLE = {"account_id": "A17", "currency": "USD", "amount": "10000.00", "custody_ref": "bank-0001"}
LOAN_EXAMPLE = {
    "loan_id": "LC18-00042",
    "originator": "ORIG1",
    "currency": "USD",
    "original_principal": "10000.00",
    "issued_face": "10000.00",
    "annual_rate": "0.12",
    "repayment_method": "annuity",
    "term_months": 12,
    "issue_date": "2024-01-15",
    "first_due_date": "2024-02-15",
    "grade": "B",
}
SERVICING_EXAMPLE = {
    "event_id": "srv-1",
    "loan_id": "LC18-00042",
    "type": "payment",
    "value_date": "2024-02-15",
    "amount": "888.49",
}

ROUTES = (
    Route(
        "POST",
        "/v1/admin/accounts",
        Access.ADMIN,
        open_account,
        doc=Doc(
            summary="Open an account",
            body=NewAccount,
            example={"account_id": "A17", "kind": "investor", "name": "Example Fund", "risk_class": "c3"},
            answers={201: OpenedAccount, 200: OpenedAccount},
            refusals=(DuplicateId,),
            gives=("Location",),
        ),
    ),
    Route(
        "GET",
        "/v1/admin/accounts",
        Access.ADMIN,
        list_accounts,
        PAGE,
        doc=Doc(summary="All accounts", answers={200: Page[Account]}),
    ),
    Route(
        "GET",
        "/v1/admin/accounts/{account_id}",
        Access.ADMIN,
        get_account,
        doc=Doc(summary="One account", answers={200: Account}),
    ),
    Route(
        "POST",
        "/v1/admin/accounts/{account_id}/api-keys",
        Access.ADMIN,
        new_key,
        doc=Doc(
            summary="A key for an account; the secret is shown once",
            body=NewApiKey,
            example={"scopes": ["read", "trade"], "ip_allow": [], "expires_at": None},
            answers={201: AdminKey},
        ),
    ),
    Route(
        "POST",
        "/v1/admin/users",
        Access.ADMIN,
        new_user,
        doc=Doc(
            summary="Let somebody sign in for an account; the scope admin makes an operator",
            body=NewUser,
            example={
                "login": "operator",
                "password": "correct horse battery",
                "account_id": "HOUSE",
                "scopes": ["read", "admin"],
            },
            answers={201: NewUserOut},
            refusals=(UnknownAccount, DuplicateId),
        ),
    ),
    Route(
        "POST",
        "/v1/admin/accounts/{account_id}/freeze",
        Access.ADMIN,
        _freezing(frozen=True),
        doc=Doc(
            summary="Let an account only cancel",
            body=Empty,
            example={"reason": "asked by phone"},
            answers={200: FrozenAccount},
        ),
    ),
    Route(
        "POST",
        "/v1/admin/accounts/{account_id}/unfreeze",
        Access.ADMIN,
        _freezing(frozen=False),
        doc=Doc(
            summary="Let an account trade again",
            body=Empty,
            example={"reason": "asked by phone"},
            answers={200: FrozenAccount},
        ),
    ),
    Route(
        "POST",
        "/v1/admin/deposits",
        Access.ADMIN,
        deposit,
        doc=Doc(
            summary="Book cash that came in",
            body=CashMovement,
            example=CASH_EXAMPLE,
            answers={201: MovedCash, 200: MovedCash},
            refusals=(
                UnknownAccount,
                DuplicateId,
            ),
        ),
    ),
    Route(
        "POST",
        "/v1/admin/withdrawals",
        Access.ADMIN,
        withdraw,
        doc=Doc(
            summary="Book cash that goes out",
            body=CashMovement,
            example=CASH_EXAMPLE,
            answers={201: MovedCash, 200: MovedCash},
            refusals=(
                UnknownAccount,
                DuplicateId,
                InsufficientFunds,
                AccountFrozen,
            ),
        ),
    ),
    Route(
        "POST",
        "/v1/admin/loans",
        Access.ADMIN,
        register_loan,
        doc=Doc(
            summary="Register a loan; its face belongs to its originator",
            body=NewLoan,
            example=LOAN_EXAMPLE,
            answers={201: RegisteredLoan, 200: RegisteredLoan},
            refusals=(
                UnknownAccount,
                DuplicateId,
                RuleViolation,
            ),
            gives=("Location",),
        ),
    ),
    Route(
        "POST",
        "/v1/admin/loans/{loan_id}/issue",
        Access.ADMIN,
        issue,
        doc=Doc(
            summary="Issue more face of a loan",
            body=NewFace,
            example={"face": "1000.00"},
            answers={200: IssuedFace},
            refusals=(
                LoanClosed,
                InvalidQuantity,
                RuleViolation,
                NotTransferable,
            ),
        ),
    ),
    Route(
        "PUT",
        "/v1/admin/rulebooks/{name}",
        Access.ADMIN,
        define_rulebook,
        doc=Doc(
            summary="Create or replace a rulebook; it applies at once to every loan under it",
            body=RulebookBody,
            example={"max_discount_pct": "10.00", "fees": {"seller": {"rate": "0.002"}}, "suitability": {"D": "c4"}},
            answers={200: DefinedRulebook},
        ),
    ),
    Route(
        "PUT",
        "/v1/admin/accounts/{account_id}/rulebook",
        Access.ADMIN,
        set_default_rulebook,
        doc=Doc(
            summary="Set the rulebook of an originator's loans that name none",
            body=DefaultRulebook,
            example={"rulebook": "cn-strict", "move_loans": False},
            answers={200: DefaultRulebookSet},
        ),
    ),
    Route(
        "PUT",
        "/v1/admin/loans/{loan_id}/rulebook",
        Access.ADMIN,
        assign_rulebook,
        doc=Doc(
            summary="Put a loan under another rulebook",
            body=RulebookChoice,
            example={"rulebook": "cn-strict"},
            answers={200: AssignedRulebook},
            refusals=(LoanClosed, RuleViolation),
        ),
    ),
    Route(
        "GET",
        "/v1/admin/halts",
        Access.ADMIN,
        list_halts,
        PAGE,
        doc=Doc(summary="The loans that are halted, why, since when and by whom", answers={200: Page[Halt]}),
    ),
    Route(
        "POST",
        "/v1/admin/loans/{loan_id}/halt",
        Access.ADMIN,
        _halting(halted=True),
        doc=Doc(
            summary="Halt trading in a loan",
            body=Empty,
            example={"reason": "news"},
            answers={200: HaltedLoan},
            refusals=(LoanClosed,),
        ),
    ),
    Route(
        "POST",
        "/v1/admin/loans/{loan_id}/resume",
        Access.ADMIN,
        _halting(halted=False),
        doc=Doc(
            summary="Resume trading in a loan",
            body=Empty,
            example={"reason": "news"},
            answers={200: HaltedLoan},
            refusals=(LoanClosed,),
        ),
    ),
    Route(
        "POST",
        "/v1/admin/servicing",
        Access.ADMIN,
        service,
        list_name="events",
        doc=Doc(
            summary="Book a servicing event, or a list of which all are booked or none",
            body=ServicingBody | ServicingList | list[ServicingBody],
            example=SERVICING_EXAMPLE,
            answers={201: ServicedOne | ServicedList, 200: ServicedOne | ServicedList},
            refusals=(
                UnknownLoan,
                LoanClosed,
                DuplicateId,
                RuleViolation,
            ),
        ),
    ),
    Route(
        "POST",
        "/v1/admin/mode",
        Access.ADMIN,
        set_mode,
        doc=Doc(
            summary="Set the market's mode",
            body=NewMode,
            example={"mode": "cancel_only", "reason": "maintenance"},
            answers={200: ModeSet},
        ),
    ),
    Route(
        "POST",
        "/v1/admin/day-roll",
        Access.ADMIN,
        roll_day,
        doc=Doc(
            summary="Move the business date forward, every day in order",
            body=DayRoll,
            example={"to": "2024-05-02"},
            answers={200: RolledDay},
        ),
    ),
)
