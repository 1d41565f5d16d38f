"""An account's own affairs: fills, trades, balances, positions, keys and tokens."""

import asyncio
from enum import StrEnum
from http import HTTPStatus
from itertools import islice

from aiohttp import web

from gateway.access.auth import TOKEN_LIFE
from gateway.answers.access import Key, NewKey, RevokedKey, Token
from gateway.answers.accounts import Balances, CashflowOut, CashflowTotal, Performance, Position, StatementRow
from gateway.answers.fields import Page
from gateway.answers.orders import ExecutionOut, OwnTrade
from gateway.errors import AuthPermissionDenied, RouteNotFound
from gateway.reads.cashflows import expecting, rows_by_claim, rows_by_date
from gateway.reads.results import claim_flows, currency_flows, holding, performance_rows, returns_by_claim
from gateway.reads.schemas import (
    balances_object,
    execution_row,
    own_trade,
    position_row,
)
from gateway.reads.statements import BEGINNING, csv_of, read_statement, statement_row
from gateway.requests.access import NewApiKey
from gateway.requests.fields import Empty
from gateway.rest.api import PAGE, Access, Call, Doc, Route, cursor_of, page, page_of, reply
from gateway.rest.orders import SPAN
from gateway.wire import SECOND, time_text, yield_text
from market.errors import InvalidArguments
from market.partitions import partition_of


async def executions(call: Call) -> web.Response:
    """Own fills, oldest first, each with the number of its message in the private stream."""
    after = call.query.cursor(int, int) or [0, 0]
    found, more = await call.api.history.fills(
        call.principal.account_id, span=call.query.span(), after=(after[0], after[1]), limit=call.query.limit()
    )
    items = [
        {**execution_row(each.row, engine_seq=each.engine_seq, at=each.at), "sequence": each.sequence} for each in found
    ]
    if call.api.views.partitions > 1:
        items = [{**item, "partition": partition_of(each.engine_seq)} for item, each in zip(items, found, strict=True)]
    return page(items, None if more is None else cursor_of(*more))


async def trades(call: Call) -> web.Response:
    """Own trades, newest first."""
    account_id, limit = call.principal.account_id, call.query.limit()
    below = call.query.cursor(*[int] * call.api.views.partitions) or ()
    found, more = await call.api.history.trades_of_account(account_id, span=call.query.span(), below=below, limit=limit)
    items = [own_trade(each.trade, account_id, engine_seq=each.engine_seq, at=each.at) for each in found]
    return page(items, None if more is None else cursor_of(*more))


async def balances(call: Call) -> web.Response:
    return reply(balances_object(call.api.views, call.account))


async def positions(call: Call) -> web.Response:
    views = call.api.views
    claims = sorted(call.account.claims.items())
    [after] = call.query.cursor(str) or [""]
    limit = call.query.limit()
    held = [claim for loan_id, claim in claims if claim.total and loan_id > after]
    on, up_to = views.business_date, views.heard
    holdings = [holding(views.loans[claim.loan_id], claim) for claim in held[:limit]]
    items = [position_row(views.loans[each.claim.loan_id], each, on) for each in holdings]
    loans = [each.claim.loan_id for each in holdings]
    flows = await claim_flows(call.api.pool, call.principal.account_id, up_to=up_to, loans=loans)
    xirr = await asyncio.to_thread(returns_by_claim, holdings, flows, on)
    for item, loan_id in zip(items, loans, strict=True):
        item["xirr"] = yield_text(xirr[loan_id])
    return page(items, cursor_of(held[limit - 1].loan_id) if len(held) > limit else None)


async def performance(call: Call) -> web.Response:
    """The result of all claims that the account ever had, by currency. Added up off the loop, like expected flows."""
    views = call.api.views
    on, up_to = views.business_date, views.heard
    holdings = [holding(views.loans[loan_id], claim) for loan_id, claim in call.account.claims.items()]
    flows = await currency_flows(call.api.pool, call.principal.account_id, up_to=up_to)
    return page_of(call, await asyncio.to_thread(performance_rows, holdings, flows, on), currency=str)


class Grouping(StrEnum):
    CLAIM = "claim"
    DATE = "date"


async def expected(call: Call) -> web.Response:
    """Future flows of the account's claims, each by itself or in all by date and currency."""
    groupings = call.query.words("group", Grouping) or {Grouping.CLAIM}
    if len(groupings) != 1:
        raise InvalidArguments("group: claim or date", field="group")
    return await (_expected_by_date(call) if Grouping.DATE in groupings else _expected_by_claim(call))


async def _expected_by_claim(call: Call) -> web.Response:
    views, limit = call.api.views, call.query.limit()
    loan_id, n = call.query.cursor(str, int) or ["", 0]
    rows = rows_by_claim(expecting(views, call.account, from_loan=loan_id), views.business_date)
    found = list(islice((row for row in rows if (row["loan_id"], row["n"]) > (loan_id, n)), limit + 1))
    last = found[limit - 1] if len(found) > limit else None
    return page(found[:limit], None if last is None else cursor_of(last["loan_id"], last["n"]))


async def _expected_by_date(call: Call) -> web.Response:
    """A large portfolio takes a fraction of a second to add up: not on the loop on which orders wait."""
    limit, after = call.query.limit(), tuple(call.query.cursor(str, str) or ["", ""])
    rows = await asyncio.to_thread(rows_by_date, list(expecting(call.api.views, call.account)))
    found = [row for row in rows if (row["due_date"], row["currency"]) > after][: limit + 1]
    last = found[limit - 1] if len(found) > limit else None
    return page(found[:limit], None if last is None else cursor_of(last["due_date"], last["currency"]))


class StatementFormat(StrEnum):
    JSON = "json"
    CSV = "csv"


async def statement(call: Call) -> web.Response:
    """Every posting of the account as typed legs, oldest first.

    CSV has one page too; the next cursor is in its Link header.
    """
    after = call.query.cursor(int, int, int)
    limit = call.query.limit()
    formats = call.query.words("format", StatementFormat) or {StatementFormat.JSON}
    if len(formats) != 1:
        raise InvalidArguments("format: json or csv", field="format")
    place = BEGINNING if after is None else (after[0], after[1], after[2])
    found = await read_statement(
        call.api.pool, call.principal.account_id, span=call.query.span(), after=place, limit=limit
    )
    loans = call.api.views.loans
    rows = [statement_row(leg, lambda loan_id: loans[loan_id].state.terms.currency) for leg in found]
    more = cursor_of(*found[-1].place) if len(found) == limit else None
    if StatementFormat.JSON in formats:
        return page(rows, more)
    headers = {"Content-Disposition": 'attachment; filename="statement.csv"'}
    if more is not None:
        headers["Link"] = f'<?format=csv&cursor={more}>; rel="next"'
    return web.Response(text=csv_of(rows), content_type="text/csv", charset="utf-8", headers=headers)


async def new_token(call: Call) -> web.Response:
    call.parsed(Empty)
    token, ends_at = call.api.keys.new_token(call.principal)
    body = {"token": token, "expires": TOKEN_LIFE // SECOND, "expires_at": time_text(ends_at)}
    return reply(body, status=HTTPStatus.CREATED)


async def new_key(call: Call) -> web.Response:
    made = await call.api.keys.create_own(call.principal, call.parsed(NewApiKey))
    location = {"Location": f"/v1/api-keys/{made.key}"}
    return reply({**made.shown(), "secret": made.secret}, status=HTTPStatus.CREATED, headers=location)


async def list_keys(call: Call) -> web.Response:
    keys = sorted(call.api.keys.of_account(call.principal.account_id), key=lambda key: (key.created_at, key.key))
    return page_of(call, (key.shown() for key in keys), created_at=str, key=str)


async def revoke_key(call: Call) -> web.Response:
    """A key may end itself and whatever can't do more than it can."""
    own = {key.key: key for key in call.api.keys.of_account(call.principal.account_id)}
    key = own.get(call.path("key"))
    if key is None:
        raise RouteNotFound("there is no such key of this account")
    if not key.scopes <= call.principal.scopes:
        raise AuthPermissionDenied("a key can't end one that may do more")
    await call.api.keys.revoke(key.key)
    return reply({"key": key.key, "revoked": True})


ROUTES = (
    Route(
        "GET",
        "/v1/executions",
        Access.READ,
        executions,
        PAGE | SPAN,
        doc=Doc(summary="Own fills, oldest first, numbered as in the stream", answers={200: Page[ExecutionOut]}),
    ),
    Route(
        "GET",
        "/v1/trades",
        Access.READ,
        trades,
        PAGE | SPAN,
        doc=Doc(summary="Own trades, newest first", answers={200: Page[OwnTrade]}),
    ),
    Route("GET", "/v1/balances", Access.READ, balances, doc=Doc(summary="Cash and claims", answers={200: Balances})),
    Route(
        "GET",
        "/v1/positions",
        Access.READ,
        positions,
        PAGE,
        doc=Doc(summary="Claims with what they cost and what they are worth", answers={200: Page[Position]}),
    ),
    Route(
        "GET",
        "/v1/performance",
        Access.READ,
        performance,
        PAGE,
        doc=Doc(
            summary="What all claims earned, by currency: results, interest, fees, money-weighted return",
            answers={200: Page[Performance]},
        ),
    ),
    Route(
        "GET",
        "/v1/cashflows",
        Access.READ,
        expected,
        PAGE | {"group"},
        doc=Doc(
            summary="Expected future flows of own claims, each by itself or by date",
            answers={200: Page[CashflowOut | CashflowTotal]},
        ),
    ),
    Route(
        "GET",
        "/v1/statement",
        Access.READ,
        statement,
        PAGE | SPAN | {"format"},
        doc=Doc(
            summary="Every posting of the account, oldest first",
            answers={200: (Page[StatementRow], "text/csv")},
            gives=("Link",),
        ),
    ),
    Route(
        "POST",
        "/v1/ws-token",
        Access.READ,
        new_token,
        doc=Doc(summary="A token for private requests on the socket", body=Empty, example={}, answers={201: Token}),
    ),
    Route(
        "POST",
        "/v1/api-keys",
        Access.READ,
        new_key,
        doc=Doc(
            summary="A further key that can do no more than this one",
            body=NewApiKey,
            example={"scopes": ["read"], "ip_allow": ["192.0.2.0/24"], "expires_at": "2030-01-01T00:00:00Z"},
            answers={201: NewKey},
            gives=("Location",),
        ),
    ),
    Route(
        "GET",
        "/v1/api-keys",
        Access.READ,
        list_keys,
        PAGE,
        doc=Doc(summary="Own keys, without their secrets", answers={200: Page[Key]}),
    ),
    Route(
        "DELETE",
        "/v1/api-keys/{key}",
        Access.READ,
        revoke_key,
        doc=Doc(summary="End a key for good", answers={200: RevokedKey}),
    ),
)
