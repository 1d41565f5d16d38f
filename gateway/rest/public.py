"""What the market says of itself to everybody: time, status, limits, fees, currencies, health, and its own audit."""

from aiohttp import web

from gateway.access.auth import TOKEN_LIFE
from gateway.access.replays import WINDOW
from gateway.answers.fields import Page
from gateway.answers.loans import RulebookOut
from gateway.answers.market import Audit, CurrencyInfo, Health, Limits, RulebookFees, Status, TimeNow
from gateway.errors import RouteNotFound
from gateway.process.monitor import health, readiness
from gateway.reads.audit import audit
from gateway.reads.schemas import fee_object, rulebook_object
from gateway.requests.fields import QUANTITY_MAX
from gateway.rest.api import BODY_BYTES_MAX, PAGE, PAGE_DEFAULT, PAGE_MAX, Access, Call, Doc, Route, page_of, reply
from gateway.wire import SECOND, minor_text, time_text
from gateway.ws.rows import status_row


async def get_time(call: Call) -> web.Response:
    return reply({"server_time": time_text(call.now), "business_date": call.api.views.business_date.isoformat()})


async def get_status(call: Call) -> web.Response:
    rules = call.api.sign_ups
    engine = call.api.engine
    more = {
        "time_zone": call.api.time_zone,
        "engine": engine.phase,
        "simulated": bool(rules.cash),
        "sign_up": rules.allowed,
    }
    if len(engine.phases) > 1:
        more["engines"] = engine.phases
    return reply({**status_row(call.api.views, call.now), **more})


async def get_limits(call: Call) -> web.Response:
    return reply(
        {
            "body_bytes_max": BODY_BYTES_MAX,
            "page_default": PAGE_DEFAULT,
            "page_max": PAGE_MAX,
            "signature_window_ms": WINDOW // 1_000_000,
            "ws_token_s": TOKEN_LIFE // SECOND,
            "order_qty_max": minor_text(QUANTITY_MAX),
            "rates": call.api.rates.published(),
        }
    )


async def get_fees(call: Call) -> web.Response:
    items = [
        {"rulebook": name, "buyer": fee_object(rules.buyer_fee), "seller": fee_object(rules.seller_fee)}
        for name, rules in sorted(call.api.views.rulebooks.items())
    ]
    return page_of(call, items, rulebook=str)


async def list_rulebooks(call: Call) -> web.Response:
    rulebooks = sorted(call.api.views.rulebooks.items())
    return page_of(call, (rulebook_object(rules) for _, rules in rulebooks), name=str)


async def get_rulebook(call: Call) -> web.Response:
    rules = call.api.views.rulebooks.get(call.path("name"))
    if rules is None:
        raise RouteNotFound("there is no such rulebook")
    return reply(rulebook_object(rules))


async def get_currencies(call: Call) -> web.Response:
    """The currencies in which there are loans or cash."""
    views = call.api.views
    of_loans = {loan.state.terms.currency for loan in views.loans.values()}
    of_cash = {currency for account in views.accounts.values() for currency in account.cash}
    items = [{"currency": currency, "decimals": 2} for currency in sorted(of_loans | of_cash)]
    return page_of(call, items, currency=str)


async def get_audit(call: Call) -> web.Response:
    """One at a time: it adds up whole tables, and anybody may ask for it."""
    async with call.api.auditing:
        return reply(await audit(call.api.pool))


async def is_alive(_: Call) -> web.Response:
    return reply({"status": "alive"})


async def is_ready(call: Call) -> web.Response:
    """Ready when commands are taken and the database answers."""
    engine = call.api.engine
    body, status = health(await readiness(engine, call.api.pool), engine.epoch, engine.phases)
    return reply(body, status=status)


ROUTES = (
    Route(
        "GET",
        "/v1/time",
        Access.PUBLIC,
        get_time,
        doc=Doc(summary="The time and the business date", answers={200: TimeNow}),
    ),
    Route(
        "GET",
        "/v1/status",
        Access.PUBLIC,
        get_status,
        doc=Doc(summary="The market's mode, epoch and last command", answers={200: Status}),
    ),
    Route(
        "GET",
        "/v1/limits",
        Access.PUBLIC,
        get_limits,
        doc=Doc(summary="Sizes and rates that are allowed", answers={200: Limits}),
    ),
    Route(
        "GET",
        "/v1/fees",
        Access.PUBLIC,
        get_fees,
        PAGE,
        doc=Doc(summary="The fees of every rulebook", answers={200: Page[RulebookFees]}),
    ),
    Route(
        "GET",
        "/v1/rulebooks",
        Access.PUBLIC,
        list_rulebooks,
        PAGE,
        doc=Doc(summary="All rulebooks", answers={200: Page[RulebookOut]}),
    ),
    Route(
        "GET",
        "/v1/rulebooks/{name}",
        Access.PUBLIC,
        get_rulebook,
        doc=Doc(summary="One rulebook", answers={200: RulebookOut}),
    ),
    Route(
        "GET",
        "/v1/currencies",
        Access.PUBLIC,
        get_currencies,
        PAGE,
        doc=Doc(summary="Currencies in which there are loans or cash", answers={200: Page[CurrencyInfo]}),
    ),
    Route(
        "GET",
        "/v1/audit",
        Access.PUBLIC,
        get_audit,
        doc=Doc(summary="The market's open self-audit: cash, positions, what was transferred", answers={200: Audit}),
    ),
    Route("GET", "/healthz", Access.PUBLIC, is_alive, doc=Doc(summary="Alive", answers={200: Health})),
    Route(
        "GET",
        "/readyz",
        Access.PUBLIC,
        is_ready,
        doc=Doc(summary="Ready: commands are taken and the database answers", answers={200: Health, 503: Health}),
    ),
)
