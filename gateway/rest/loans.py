"""Loans for everybody: the board with its filters, one loan, its schedule, its book, its trades."""

from collections.abc import Collection
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from aiohttp import web

from gateway.answers.board import BoardFacets, BoardMap, BoardOrder, BoardPage
from gateway.answers.fields import Page
from gateway.answers.loans import Assignment, Loan, Payment, ScheduleRow, TitleParty
from gateway.answers.prices import Book, CandleRow, PublicTrade, Quote
from gateway.reads.board import WISHES, BoardParts, BoardWish, part_of
from gateway.reads.candles import Interval, candle_row
from gateway.reads.history import NEVER
from gateway.reads.loan_view import LoanView
from gateway.reads.overview import POINTS_DEFAULT, POINTS_MAX
from gateway.reads.quote import Asked, quote
from gateway.reads.schemas import board_item, book_object, payment_row, schedule_rows
from gateway.rest.api import PAGE, Access, Call, Doc, Route, cursor_of, packed_reply, page, page_of, reply
from gateway.rest.orders import SPAN
from gateway.ws.rows import trade_row
from market.errors import BelowMinimum, InvalidArguments, InvalidPrice, InvalidQuantity, LoanClosed, PriceOutOfBand
from market.ids import Face, LoanId, PriceBp
from market.orderbook.board import Key, Wanted
from market.orderbook.order import Side
from market.settlement.title import party


class Depth(StrEnum):
    """The depths that the book's feed has, and so this route."""

    TEN = "10"
    TWENTY_FIVE = "25"
    HUNDRED = "100"
    FIVE_HUNDRED = "500"


async def board(call: Call) -> web.Response:
    """Live loans unless `status` says otherwise, in order of id unless `sort` says otherwise.

    What a figure does not exist for (a yield where nothing is offered) comes last, whichever way it is sorted.
    """
    query, views = call.query, call.api.views
    wish = BoardParts.parse(_said(call, WISHES | {"fields"}))
    wanted = wish.to_wanted()
    after = query.cursor(int, int, str)
    found, more = await call.api.board.page(
        wanted, after=None if after is None else (after[0], after[1], after[2]), limit=query.limit()
    )
    loans = [views.loans[loan_id] for loan_id in found if loan_id in views.loans]
    return reply(
        {
            "items": [part_of(board_item(loan, views.business_date), wish.fields) for loan in loans],
            "next_cursor": None if more is None else _cursor(wanted, more),
            "total": call.api.board.columns.count(wanted),
        }
    )


def _cursor(wanted: Wanted, key: Key) -> str:
    """In the order of loans the loan says it all."""
    return cursor_of(key[0], 0 if wanted.sort is None else key[1], key[2])


async def order(call: Call) -> web.Response:
    """All loans of a filter by id, in the order that `GET /v1/loans` pages through."""
    return packed_reply(call.request, await call.api.overview.order(_wanted(call)))


async def facets(call: Call) -> web.Response:
    return packed_reply(call.request, await call.api.overview.facets(_wanted(call)))


async def yield_map(call: Call) -> web.Response:
    """Loans without a yield, as those that nobody offers, are not on the map."""
    points = call.query.integer("points", default=POINTS_DEFAULT, low=1, high=POINTS_MAX)
    return packed_reply(call.request, await call.api.overview.map(_wanted(call), points=points))


def _wanted(call: Call) -> Wanted:
    return BoardWish.parse(_said(call, WISHES)).to_wanted()


def _said(call: Call, names: Collection[str]) -> dict[str, Any]:
    return {name: text for name in names if (text := call.query.text(name)) is not None}


async def get(call: Call) -> web.Response:
    return reply(board_item(_loan(call), call.api.views.business_date))


async def schedule(call: Call) -> web.Response:
    return page_of(call, schedule_rows(_loan(call), call.api.views.business_date), n=int)


async def payments(call: Call) -> web.Response:
    """What servicers reported of the loan, oldest first."""
    loan, limit = _loan(call), call.query.limit()
    [after] = call.query.cursor(int) or [0]
    found = await call.api.history.servicing_of_loan(loan.loan_id, after=after, limit=limit)
    items = [payment_row(each, loan.state.terms.original_principal) for each in found]
    return page(items, cursor_of(found[-1].place) if len(found) == limit else None)


class Chain(StrEnum):
    """The chain of title from its first link on, or from its newest."""

    OLDEST_FIRST = "n"
    NEWEST_FIRST = "-n"


async def assignments(call: Call) -> web.Response:
    """The chain of title, from the first issue on unless `sort` says otherwise."""
    loan, limit = _loan(call), call.query.limit()
    orders = call.query.words("sort", Chain) or {Chain.OLDEST_FIRST}
    if len(orders) != 1:
        raise InvalidArguments("sort: n or -n", field="sort")
    newest_first = Chain.NEWEST_FIRST in orders
    [after] = call.query.cursor(int) or [NEVER if newest_first else 0]
    found = await call.api.history.assignments_of_loan(
        loan.loan_id, after=after, limit=limit, newest_first=newest_first
    )
    return page([asdict(link) for link in found], cursor_of(found[-1].n) if len(found) == limit else None)


async def title_party(call: Call) -> web.Response:
    loan, account_id = _loan(call), call.principal.account_id
    opening = await call.api.history.title_opening(loan.loan_id, account_id)
    return reply({"loan_id": loan.loan_id, "party": party(opening, account_id), "opening": opening})


async def book(call: Call) -> web.Response:
    """The same view that the feed of this depth shows, with its numbers."""
    loan = _loan(call)
    depths = call.query.words("depth", Depth) or {Depth.TEN}
    if len(depths) != 1:
        raise InvalidArguments("depth: one of 10, 25, 100, 500", field="depth")
    view = loan.book.view(int(next(iter(depths))))
    return reply(book_object(call.api.views, loan, view.snapshot(), call.now))


async def trades(call: Call) -> web.Response:
    """Newest first."""
    loan, limit = _loan(call), call.query.limit()
    [below] = call.query.cursor(int) or [NEVER]
    found = await call.api.history.trades_of_loan(loan.loan_id, span=call.query.span(), below=below, limit=limit)
    items: list[dict[str, Any]] = [trade_row(each.trade, each.at) for each in found]
    return page(items, cursor_of(found[-1].trade.trade_id) if len(found) == limit else None)


async def candles(call: Call) -> web.Response:
    """Newest first; of an interval that `since` or `until` cuts, only the trades in between count."""
    loan, query, limit = _loan(call), call.query, call.query.limit()
    intervals = query.words("interval", Interval) or {Interval("1")}
    if len(intervals) != 1:
        raise InvalidArguments(f"interval: one of {', '.join(Interval)}", field="interval")
    interval = int(next(iter(intervals)))
    [below] = query.cursor(int) or [NEVER]
    found = await call.api.history.candles(loan.loan_id, interval=interval, span=query.span(), below=below, limit=limit)
    items = [candle_row(loan.symbol, each, interval) for each in found]
    return page(items, cursor_of(found[-1].number) if len(found) == limit else None)


async def what_if(call: Call) -> web.Response:
    """What buying or selling `qty` would cost: against the book, or at `price` or `yield`."""
    loan, query = _loan(call), call.query
    sides, quantity = query.words("side", Side), query.units("qty")
    price, yield_ppm = query.units("price"), query.units("yield", places=6)
    if sides is None or len(sides) != 1:
        raise InvalidArguments("side: buy or sell", field="side")
    if quantity is None:
        raise InvalidArguments("qty: must be given", field="qty")
    if price is not None and yield_ppm is not None:
        raise InvalidArguments("price or yield, not both", field="yield")
    limit = None if price is None else PriceBp(price)
    asked = Asked(next(iter(sides)), Face(quantity), limit, yield_ppm)
    return reply(quote(loan, asked, call.api.views.business_date))


def _loan(call: Call) -> LoanView:
    return call.api.views.loan(LoanId(call.path("loan_id")))


ROUTES = (
    Route(
        "GET",
        "/v1/loans",
        Access.PUBLIC,
        board,
        PAGE | WISHES | {"fields"},
        doc=Doc(summary="The board: live loans with what is on offer, filtered and sorted", answers={200: BoardPage}),
    ),
    Route(
        "GET",
        "/v1/loans/order",
        Access.PUBLIC,
        order,
        WISHES,
        doc=Doc(summary="The ids of all loans of the board by a filter, in order", answers={200: BoardOrder}),
    ),
    Route(
        "GET",
        "/v1/loans/facets",
        Access.PUBLIC,
        facets,
        WISHES - {"sort"},
        doc=Doc(summary="How many loans of the board have which status, grade, type ...", answers={200: BoardFacets}),
    ),
    Route(
        "GET",
        "/v1/loans/map",
        Access.PUBLIC,
        yield_map,
        (WISHES - {"sort"}) | {"points"},
        doc=Doc(summary="Yield against months to go, as points of one or several loans", answers={200: BoardMap}),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}",
        Access.PUBLIC,
        get,
        doc=Doc(summary="One loan: terms, status, rules, best prices", answers={200: Loan}),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/schedule",
        Access.PUBLIC,
        schedule,
        PAGE,
        doc=Doc(summary="Every instalment, past and future", answers={200: Page[ScheduleRow]}),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/payments",
        Access.PUBLIC,
        payments,
        PAGE,
        doc=Doc(summary="What servicers reported, oldest first", answers={200: Page[Payment]}),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/assignments",
        Access.PUBLIC,
        assignments,
        PAGE | {"sort"},
        doc=Doc(summary="The chain of title: who assigned what to whom, hash-linked", answers={200: Page[Assignment]}),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/party",
        Access.READ,
        title_party,
        doc=Doc(summary="Who the account is in the loan's chain of title", answers={200: TitleParty}),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/book",
        Access.PUBLIC,
        book,
        frozenset({"depth"}),
        doc=Doc(summary="The order book, with the numbers of its feed", answers={200: Book}),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/quote",
        Access.PUBLIC,
        what_if,
        frozenset({"side", "qty", "price", "yield"}),
        doc=Doc(
            summary="What a trade would cost: against the book, or at a price or yield",
            answers={200: Quote},
            refusals=(LoanClosed, InvalidPrice, PriceOutOfBand, InvalidQuantity, BelowMinimum),
        ),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/trades",
        Access.PUBLIC,
        trades,
        PAGE | (SPAN - {"loan_id"}),
        doc=Doc(summary="Public trades, newest first", answers={200: Page[PublicTrade]}),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/candles",
        Access.PUBLIC,
        candles,
        PAGE | {"interval", "since", "until"},
        doc=Doc(summary="What was traded by interval of time, newest first", answers={200: Page[CandleRow]}),
    ),
)
