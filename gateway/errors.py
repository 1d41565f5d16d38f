"""From a refusal to its answer: the only table of statuses, codes and texts, and how both protocols show one.

Holds also the refusals that only the edge knows: authentication, routes, frames, rates.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import web

from gateway.wire import dump_json, minor_text
from market import errors as market
from market.errors import MarketError


class UnknownField(MarketError):
    """There is no such field here."""


class UnknownMethod(MarketError):
    """There is no such method."""


class AuthRequired(MarketError):
    """This needs an API key, or a login first."""


class AuthInvalidKey(MarketError):
    """The key is unknown, revoked or expired."""


class AuthInvalidSignature(MarketError):
    """The signature is wrong, or was used before."""


class AuthTimestamp(MarketError):
    """The timestamp is outside the window (details: skew_ms, positive if the client's clock is ahead)."""


class AuthPermissionDenied(MarketError):
    """This key may not do that."""


class AuthInvalidLogin(MarketError):
    """There is no such login, or the password is wrong: which of the two is not told."""


class AuthCsrf(MarketError):
    """A write of a web session lacks its CSRF token, or comes from another site."""


class PayloadTooLarge(MarketError):
    """The body is larger than 1 MiB."""


class MethodNotAllowed(MarketError):
    """This route does not know that method."""


class RouteNotFound(MarketError):
    """There is nothing at this path."""


class UnsupportedMediaType(MarketError):
    """The body must be application/json."""


class RateLimited(MarketError):
    """Too many requests of this kind (details: retry_after_ms)."""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What a client is told of one class of refusal.

    text: the WebSocket's `error`; `{mode}` and the like are taken from the error's details.
    retryable: the same request may succeed a little later.  is_unknown: it may have been executed.
    """

    status: HTTPStatus
    code: str
    text: str
    retryable: bool = False
    is_unknown: bool = False

    @property
    def outcome(self) -> str:
        return "unknown" if self.is_unknown else "not_executed"


_S = HTTPStatus
_ARGUMENTS, _PRICE, _CANNOT_FILL = "EGeneral:Invalid arguments", "EOrder:Invalid price", "EOrder:Cannot fill"
_UNKNOWN_ORDER, _BLOCKED, _UNAVAILABLE = "EOrder:Unknown order", "EOrder:Blocked", "EService:Unavailable"

ANSWERS: dict[type[MarketError], ErrorAnswer] = {
    market.InvalidArguments: ErrorAnswer(_S.UNPROCESSABLE_ENTITY, "invalid_arguments", _ARGUMENTS),
    UnknownField: ErrorAnswer(_S.UNPROCESSABLE_ENTITY, "unknown_field", "EGeneral:Unknown field"),
    UnknownMethod: ErrorAnswer(_S.NOT_FOUND, "unknown_method", "EGeneral:Unknown method"),
    AuthRequired: ErrorAnswer(_S.UNAUTHORIZED, "auth_required", "EAuth:Authentication required"),
    AuthInvalidKey: ErrorAnswer(_S.UNAUTHORIZED, "auth_invalid_key", "EAuth:Invalid key"),
    AuthInvalidSignature: ErrorAnswer(_S.UNAUTHORIZED, "auth_invalid_signature", "EAuth:Invalid signature"),
    AuthTimestamp: ErrorAnswer(_S.UNAUTHORIZED, "auth_timestamp", "EAuth:Timestamp outside window"),
    AuthPermissionDenied: ErrorAnswer(_S.FORBIDDEN, "auth_permission_denied", "EAuth:Permission denied"),
    AuthInvalidLogin: ErrorAnswer(_S.UNAUTHORIZED, "auth_invalid_login", "EAuth:Invalid login"),
    AuthCsrf: ErrorAnswer(_S.FORBIDDEN, "auth_csrf", "EAuth:Cross-site request"),
    market.AccountFrozen: ErrorAnswer(_S.FORBIDDEN, "account_frozen", "EAuth:Account frozen"),
    market.NotEligible: ErrorAnswer(_S.FORBIDDEN, "not_eligible", "ELoan:Buyer not eligible"),
    market.InvalidPrice: ErrorAnswer(_S.UNPROCESSABLE_ENTITY, "invalid_price", _PRICE),
    market.PriceOutOfBand: ErrorAnswer(_S.UNPROCESSABLE_ENTITY, "price_out_of_band", _PRICE),
    market.YieldFloor: ErrorAnswer(_S.UNPROCESSABLE_ENTITY, "yield_floor", _PRICE),
    market.RuleViolation: ErrorAnswer(_S.UNPROCESSABLE_ENTITY, "rule_violation", _PRICE),
    market.InvalidQuantity: ErrorAnswer(_S.UNPROCESSABLE_ENTITY, "invalid_qty", "EOrder:Invalid quantity"),
    market.BelowMinimum: ErrorAnswer(
        _S.UNPROCESSABLE_ENTITY, "below_minimum", "EOrder:Order minimum not met (volume too low)"
    ),
    market.InsufficientFunds: ErrorAnswer(
        _S.UNPROCESSABLE_ENTITY, "insufficient_funds", "EOrder:Insufficient funds (insufficient user funds)"
    ),
    market.InsufficientClaims: ErrorAnswer(
        _S.UNPROCESSABLE_ENTITY, "insufficient_claims", "EOrder:Insufficient claims"
    ),
    market.PostOnlyCross: ErrorAnswer(_S.UNPROCESSABLE_ENTITY, "post_only_cross", "EOrder:Post only would cross"),
    market.FokUnfilled: ErrorAnswer(_S.UNPROCESSABLE_ENTITY, "fok_unfilled", _CANNOT_FILL),
    market.MinQuantityUnfilled: ErrorAnswer(_S.UNPROCESSABLE_ENTITY, "min_qty_unfilled", _CANNOT_FILL),
    market.UnknownOrder: ErrorAnswer(_S.NOT_FOUND, "unknown_order", _UNKNOWN_ORDER),
    market.OrderClosed: ErrorAnswer(_S.CONFLICT, "order_closed", _UNKNOWN_ORDER),
    market.DuplicateId: ErrorAnswer(_S.CONFLICT, "duplicate_id", "EOrder:Duplicate cl_ord_id"),
    market.VersionMismatch: ErrorAnswer(_S.PRECONDITION_FAILED, "version_mismatch", "EOrder:Version mismatch"),
    market.StaleBook: ErrorAnswer(_S.PRECONDITION_FAILED, "stale_book", "EOrder:Stale book"),
    market.SelfTrade: ErrorAnswer(_S.CONFLICT, "self_trade", "EOrder:Self trade"),
    market.KillSwitch: ErrorAnswer(_S.CONFLICT, "kill_switch", _BLOCKED),
    market.MmpFrozen: ErrorAnswer(_S.CONFLICT, "mmp_frozen", _BLOCKED),
    PayloadTooLarge: ErrorAnswer(_S.REQUEST_ENTITY_TOO_LARGE, "payload_too_large", _ARGUMENTS),
    MethodNotAllowed: ErrorAnswer(_S.METHOD_NOT_ALLOWED, "method_not_allowed", _ARGUMENTS),
    RouteNotFound: ErrorAnswer(_S.NOT_FOUND, "not_found", _ARGUMENTS),
    market.UnknownAccount: ErrorAnswer(_S.NOT_FOUND, "not_found", _ARGUMENTS),
    UnsupportedMediaType: ErrorAnswer(_S.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", _ARGUMENTS),
    market.UnknownLoan: ErrorAnswer(_S.NOT_FOUND, "unknown_loan", "ELoan:Unknown"),
    market.LoanHalted: ErrorAnswer(_S.CONFLICT, "loan_halted", "ELoan:Halted"),
    market.LoanClosed: ErrorAnswer(_S.CONFLICT, "loan_closed", "ELoan:Closed"),
    market.NotTransferable: ErrorAnswer(_S.CONFLICT, "not_transferable", "ELoan:Not transferable"),
    RateLimited: ErrorAnswer(_S.TOO_MANY_REQUESTS, "rate_limited", "{prefix}:Rate limit exceeded", retryable=True),
    market.DeadlineElapsed: ErrorAnswer(_S.REQUEST_TIMEOUT, "deadline_elapsed", "EService:Deadline elapsed"),
    market.MarketMode: ErrorAnswer(_S.CONFLICT, "market_mode", "EService:Market in {mode} mode", retryable=True),
    market.Busy: ErrorAnswer(_S.SERVICE_UNAVAILABLE, "busy", "EService:Busy", retryable=True),
    market.Unavailable: ErrorAnswer(_S.SERVICE_UNAVAILABLE, "unavailable", _UNAVAILABLE, retryable=True),
    # A repeat with the same cl_ord_id is safe, and the only way to learn what happened.
    market.OutcomeUnknown: ErrorAnswer(
        _S.SERVICE_UNAVAILABLE, "unavailable", _UNAVAILABLE, retryable=True, is_unknown=True
    ),
}

AMOUNTS = frozenset({"have", "need", "bound"})  # details in minor units; every other number is shown as it is
TEXT_DEFAULTS = {"mode": "cancel_only", "prefix": "EOrder"}  # RateLimited(prefix="EAPI") is for all but orders
HIDDEN = frozenset({"prefix"})
RETRY_AFTER_S = "1"  # Retry-After of what names no time itself


def answer_of(error: MarketError) -> ErrorAnswer:
    return ANSWERS[type(error)]


def details_of(error: MarketError) -> dict[str, int | str | None]:
    """Return the error's details in the wire's words: amounts with two decimals, the rest unchanged."""
    return {
        name: minor_text(value) if name in AMOUNTS and isinstance(value, int) else value
        for name, value in error.details.items()
        if name not in HIDDEN
    }


def ws_error(error: MarketError) -> tuple[str, dict[str, Any]]:
    """Return the `error` text and the `error_detail` object of a WebSocket reply."""
    answer = answer_of(error)
    detail: dict[str, Any] = {"code": answer.code, "outcome": answer.outcome, "retryable": answer.retryable}
    if error.field is not None:
        detail["field"] = error.field
    detail["message"] = str(error)
    return answer.text.format_map(TEXT_DEFAULTS | error.details), detail | details_of(error)


def problem(error: MarketError, *, instance: str | None = None) -> web.Response:
    """Return the problem document (RFC 9457) of a refusal. instance: the request's path."""
    answer = answer_of(error)
    is_loan = isinstance(error, market.UnknownLoan) and error.field == "symbol"  # the socket's name of it
    field = "loan_id" if is_loan else error.field
    body: dict[str, Any] = {
        "type": f"urn:debt-market:error:{answer.code}",
        "title": answer.status.phrase,
        "status": answer.status.value,
        "detail": str(error),
        "instance": instance,
        "code": answer.code,
        "outcome": answer.outcome,
        "retryable": answer.retryable,
        "errors": [] if field is None else [{"field": field, "message": str(error)}],
    }
    headers = {}
    if answer.status in (_S.SERVICE_UNAVAILABLE, _S.TOO_MANY_REQUESTS):
        wait_ms = error.details.get("retry_after_ms")
        headers["Retry-After"] = str(-(-wait_ms // 1000)) if isinstance(wait_ms, int) else RETRY_AFTER_S
    return web.Response(
        status=answer.status,
        body=dump_json(body | details_of(error)),
        content_type="application/problem+json",
        headers=headers,
    )


def internal_problem(*, instance: str) -> web.Response:
    """Return what is said when we failed in a way that we did not foresee: nothing but that it is our fault."""
    body = {
        "type": "urn:debt-market:error:internal",
        "title": _S.INTERNAL_SERVER_ERROR.phrase,
        "status": _S.INTERNAL_SERVER_ERROR.value,
        "detail": "the request failed for a reason of our own",
        "instance": instance,
        "code": "internal",
        "outcome": "unknown",
        "retryable": False,
        "errors": [],
    }
    return web.Response(status=_S.INTERNAL_SERVER_ERROR, body=dump_json(body), content_type="application/problem+json")
