"""The operator's calls. Each records who asked and why, and answers with the `engine_seq` that made it so."""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from aiohttp import web

from gateway.requests import (
    CashMovement,
    DayRoll,
    Empty,
    NewAccount,
    NewApiKey,
    NewFace,
    NewLoan,
    NewMode,
    RulebookChoice,
    ServicingBody,
    ServicingList,
    freeze_command,
    halt_command,
)
from gateway.rest.api import Access, Call, Handler, Route, cursor_of, page, reply
from gateway.rest.orders import PAGE
from gateway.schemas import account_object
from market.commands import Command, Done, OpenAccount, RegisterLoan, ServicingAck
from market.engine import Answer
from market.errors import InvalidArguments, InvariantViolation
from market.ids import AccountId

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


def _halting(*, halted: bool) -> Handler:
    async def halt(call: Call) -> web.Response:
        loan_id = call.path("loan_id")
        command = halt_command(call.parsed(Empty), loan_id, halted=halted)
        return await _act(call, command, {"loan_id": loan_id, "halted": halted})

    return halt


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


ROUTES = (
    Route("POST", "/v1/admin/accounts", Access.ADMIN, open_account),
    Route("GET", "/v1/admin/accounts", Access.ADMIN, list_accounts, PAGE),
    Route("GET", "/v1/admin/accounts/{account_id}", Access.ADMIN, get_account),
    Route("POST", "/v1/admin/accounts/{account_id}/api-keys", Access.ADMIN, new_key),
    Route("POST", "/v1/admin/accounts/{account_id}/freeze", Access.ADMIN, _freezing(frozen=True)),
    Route("POST", "/v1/admin/accounts/{account_id}/unfreeze", Access.ADMIN, _freezing(frozen=False)),
    Route("POST", "/v1/admin/deposits", Access.ADMIN, deposit),
    Route("POST", "/v1/admin/withdrawals", Access.ADMIN, withdraw),
    Route("POST", "/v1/admin/loans", Access.ADMIN, register_loan),
    Route("POST", "/v1/admin/loans/{loan_id}/issue", Access.ADMIN, issue),
    Route("PUT", "/v1/admin/loans/{loan_id}/rulebook", Access.ADMIN, assign_rulebook),
    Route("POST", "/v1/admin/loans/{loan_id}/halt", Access.ADMIN, _halting(halted=True)),
    Route("POST", "/v1/admin/loans/{loan_id}/resume", Access.ADMIN, _halting(halted=False)),
    Route("POST", "/v1/admin/servicing", Access.ADMIN, service, list_name="events"),
    Route("POST", "/v1/admin/mode", Access.ADMIN, set_mode),
    Route("POST", "/v1/admin/day-roll", Access.ADMIN, roll_day),
)
