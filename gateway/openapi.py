"""The REST contract as OpenAPI 3.1, made from the route table and from the models that check requests.

A route can't exist without its `Doc`, so nothing is served that is not described. What follows from the kind of a
route (keys, rates, sizes, syntax) is added here; what only one route refuses stands at the route.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from gateway.access.auth import rest_signature
from gateway.access.browser import COOKIE, CSRF_HEADER
from gateway.answers.fields import Problem
from gateway.answers.loans import Loan
from gateway.errors import (
    ANSWERS,
    AuthCsrf,
    AuthInvalidKey,
    AuthInvalidSignature,
    AuthPermissionDenied,
    AuthRequired,
    AuthTimestamp,
    PayloadTooLarge,
    RateLimited,
    RouteNotFound,
    UnknownField,
    UnsupportedMediaType,
)
from gateway.reads.board import FIGURES, LOANS_MAX, SORTS
from gateway.reads.candles import Interval
from gateway.reads.overview import POINTS_DEFAULT, POINTS_MAX
from gateway.reads.statistics import By
from gateway.requests.orders import CLIENT_ORDER_ID
from gateway.rest.api import BODY_METHODS, PAGE_DEFAULT, PAGE_MAX, Access, Route
from market.claims.loan import ClaimType, GuaranteeKind, LoanStatus
from market.errors import (
    Busy,
    DeadlineElapsed,
    InvalidArguments,
    MarketError,
    OutcomeUnknown,
    Unavailable,
    UnknownAccount,
    UnknownLoan,
)
from market.orderbook.order import OrderStatus, Side

Json = dict[str, Any]

DECIMAL = {"type": "string", "pattern": r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"}
WHOLE = {"type": "integer", "minimum": 0}
TIME = {"type": "string", "format": "date-time", "examples": ["2024-05-01T12:00:00Z"]}

PATH: dict[str, tuple[str, type[MarketError] | None]] = {
    "loan_id": ("the loan's id, 1 to 32 of A-Z 0-9 . _ -", UnknownLoan),
    "account_id": ("the account's id", UnknownAccount),
    "order_id": ("the order's id, as answered when it was placed", None),
    "cid": ("the client's own id of the order", None),
    "key": ("the API key's id", RouteNotFound),
    "session_id": ("the session's id, as listed", RouteNotFound),
    "name": ("the rulebook's name, 1 to 32 of A-Z a-z 0-9 . _ -", RouteNotFound),
}


def _text(pattern: str) -> Json:
    return {"type": "string", "pattern": pattern}


HEADERS: dict[str, tuple[str, Json]] = {
    "X-Request-Id": ("any printable ASCII without blanks; given back", _text("^[!-~]{1,128}$")),
    "Idempotency-Key": (
        "`cl_ord_id` of a body that has none: a retry gets the first answer",
        _text(f"^{CLIENT_ORDER_ID}$"),
    ),
    "If-Match": ("the version that must still be the order's, as its `ETag` says", _text(r'^(\*|(W/)?"[0-9]{1,9}")$')),
    "ETag": ("the order's version", _text('^"[0-9]+"$')),
    "Location": ("where to find it from now on", {"type": "string"}),
    "Set-Cookie": ("the session, for browsers: HttpOnly, SameSite=Strict", {"type": "string"}),
    "Link": ("CSV only: the next page, rel=next", {"type": "string"}),
    "Retry-After": ("seconds", {"type": "integer"}),
    "RateLimit-Limit": ("requests that the account may save up", {"type": "integer"}),
    "RateLimit-Remaining": ("requests left now", {"type": "integer"}),
    "RateLimit-Reset": ("seconds until all are there again", {"type": "integer"}),
}
RATE_HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
SIGNING = ("X-API-Key", "X-API-Timestamp", "X-API-Signature")


def _words(words: Iterable[str], **more: object) -> Json:
    """Return the schema of a comma-separated choice."""
    return {"type": "array", "items": {"type": "string", "enum": sorted(words)}, **more}


LIMIT: Json = {**WHOLE, "minimum": 1, "maximum": PAGE_MAX}
WHOLE_AT_ONCE = (  # collections that usually fit one page
    *("/v1/loans/{loan_id}/schedule", "/v1/fees", "/v1/rulebooks", "/v1/currencies"),
    *("/v1/performance", "/v1/api-keys"),
)
QUERY: dict[str, tuple[str, Json]] = {
    "limit": ("items on a page", {**LIMIT, "default": PAGE_DEFAULT}),
    "cursor": ("`next_cursor` of the page before", {"type": "string"}),
    "after_seq": ("only what later commands made", WHOLE),
    "since": ("not before", TIME),
    "until": ("before", TIME),
    "loan_id": ("of this loan only", {"type": "string"}),
    "status": ("", {}),  # per route, see BY_ROUTE
    "format": ("", {"type": "string", "enum": ["json", "csv"], "default": "json"}),
    "group": (
        "each claim's flows, or the sums of a date",
        {"type": "string", "enum": ["claim", "date"], "default": "claim"},
    ),
    "depth": ("levels of each side", {"type": "string", "enum": ["10", "25", "100", "500"], "default": "10"}),
    "interval": ("minutes", {"type": "string", "enum": list(Interval), "default": "1"}),
    "side": ("", {"type": "string", "enum": sorted(Side)}),
    "qty": ("original face", DECIMAL),
    "price": ("price it at this clean price", DECIMAL),
    "yield": ("price it at this effective annual yield, a fraction", DECIMAL),
    "by": ("one or both", _words(By, default=[By.GRADE])),
    "q": ("text in the loan's id, originator, purpose, region, grade or borrower", {"type": "string"}),
    "grade": ("one or several", {"type": "array", "items": {"type": "string"}}),
    "claim_type": ("one or several", _words(ClaimType)),
    "guarantee": ("kind, one or several", _words(GuaranteeKind)),
    "fields": (
        "of each loan only these, and what names it",
        {"type": "array", "items": {"type": "string", "enum": sorted(Loan.model_fields)}},
    ),
    "points": (
        "at most; months and grade of a point are the same, its yields differ by what that takes",
        {**WHOLE, "minimum": 1, "maximum": POINTS_MAX, "default": POINTS_DEFAULT},
    ),
    "originator": ("", {"type": "string"}),
    "currency": ("", {"type": "string"}),
    "never_late": ("", {"type": "boolean"}),
    "sort": (
        "by this, descending with a minus sign; loans without it come last",
        {"type": "string", "enum": [sign + name for name in SORTS for sign in ("", "-")]},
    ),
    **{f"min_{name}": (f"at least this {name} (of the best offer, or of the loan)", DECIMAL) for name in FIGURES},
    **{f"max_{name}": (f"at most this {name}", DECIMAL) for name in FIGURES},
}
LOAN_ID: Json = {"type": "string", "pattern": "^[A-Z0-9._-]{1,32}$"}
BY_ROUTE: dict[tuple[str, str], tuple[str, Json]] = {
    **{
        (path, name): told
        for path in ("/v1/loans", "/v1/loans/order", "/v1/loans/facets", "/v1/loans/map")
        for name, told in {
            "status": ("one or several, or `all`; live loans if not given", _words([*LoanStatus, "all"])),
            "loan_id": ("of these only", {"type": "array", "items": LOAN_ID, "maxItems": LOANS_MAX}),
        }.items()
    },
    ("/v1/loans/{loan_id}/assignments", "sort"): (
        "oldest or newest link first",
        {"type": "string", "enum": ["n", "-n"], "default": "n"},
    ),
    ("/v1/orders", "status"): (
        "open ones if not given",
        {"type": "string", "enum": ["open", "closed", "all", "rejected", *OrderStatus], "default": "open"},
    ),
    **{(path, "limit"): ("items on a page", {**LIMIT, "default": PAGE_MAX}) for path in WHOLE_AT_ONCE},
}
REQUIRED = frozenset({("/v1/loans/{loan_id}/quote", "side"), ("/v1/loans/{loan_id}/quote", "qty")})

EXAMPLE_SECRET = "c2VjcmV0IGJ5dGVz"
EXAMPLE_SIGNATURE = rest_signature(
    EXAMPLE_SECRET, timestamp="1714564800000000", method="GET", path="/v1/orders?status=all", body=b""
)
ABOUT = f"""
Decimals are strings in plain notation. Prices are clean, in percent of current face; quantities are original face.
A success is answered once it is durable. Errors are problem documents (RFC 9457); act on `code`, and retry what is
`retryable`. Keys may be added to answers at any time. What is not HTTP at all is answered 400 in plain text, and is not
part of this contract.

**Signing.** Private routes take three headers: `X-API-Key`, `X-API-Timestamp` (microseconds since 1970) and
`X-API-Signature`: lower-case hex HMAC-SHA256, keyed with the secret's text as given, of four parts joined by single
line feeds: the timestamp, the METHOD, the path with `?query` as sent, and the lower-case hex SHA-256 of the body's
bytes. For secret `{EXAMPLE_SECRET}`, timestamp `1714564800000000`, `GET /v1/orders?status=all` and no body it is
`{EXAMPLE_SIGNATURE}`. A signature is good once, for five seconds.

**Browsers** sign in at `POST /v1/session` instead: the session is in a cookie, and every request but GET carries the
`csrf_token` of the answer as `X-CSRF-Token`.
""".strip()


def openapi(routes: Collection[Route], *, version: str) -> Json:
    """Return the document. version: of the product."""
    schema_of, schemas = _schemas(routes)
    paths: dict[str, Json] = defaultdict(dict)
    for route in routes:
        paths[route.path][route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "debt-market", "version": version, "description": ABOUT},
        "servers": [{"url": "/"}],
        "paths": dict(paths),
        "components": {
            "schemas": schemas,
            "headers": {name: {"description": about, "schema": schema} for name, (about, schema) in HEADERS.items()},
            "securitySchemes": {
                **{name: {"type": "apiKey", "in": "header", "name": name} for name in (*SIGNING, CSRF_HEADER)},
                COOKIE: {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


class PlainSchemas(GenerateJsonSchema):
    """Leaves out the titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def _schemas(routes: Collection[Route]) -> tuple[dict[object, Json], Json]:
    """Return the schema of every type that is sent or answered, and the components that these refer to."""
    types: dict[Any, None] = {Problem: None}
    for route in routes:
        bodies = () if route.doc.body is None else (route.doc.body,)
        told = (kind for kinds in route.doc.answers.values() for kind in _kinds(kinds) if not isinstance(kind, str))
        types |= dict.fromkeys((*bodies, *told))
    adapters: list[tuple[int, Literal["validation"], TypeAdapter[Any]]] = [
        (i, "validation", TypeAdapter[Any](each)) for i, each in enumerate(types)
    ]
    schemas, rest = TypeAdapter.json_schemas(
        adapters, ref_template="#/components/schemas/{model}", schema_generator=PlainSchemas
    )
    return {each: schemas[(i, "validation")] for i, each in enumerate(types)}, rest["$defs"]


def _kinds(answer: object) -> tuple[object, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


def _operation(route: Route, schema_of: Mapping[object, Json]) -> Json:
    doc = route.doc
    operation: Json = {
        "operationId": operation_id(route),
        "summary": doc.summary,
        "tags": [_noun(route.path)],
        "parameters": list(_parameters(route)),
        "responses": _responses(route, schema_of),
    }
    if route.access is not Access.PUBLIC:
        session = (COOKIE,) if route.method == "GET" else (COOKIE, CSRF_HEADER)
        ways = (session,) if route.access is Access.SESSION else (SIGNING, session)
        operation["security"] = [{name: [] for name in way} for way in ways]
        if route.access not in (Access.SIGNED, Access.SESSION):
            operation["description"] = f"The key, or the session, needs the scope `{route.access}`."
    if doc.body is not None:
        content = {"schema": schema_of[doc.body], "example": doc.example}
        operation["requestBody"] = {"content": {"application/json": content}, "required": bool(doc.example)}
    return operation


def operation_id(route: Route) -> str:
    """Return a name that is a word in most languages: `get_v1_loans_loan_id`."""
    return "_".join(re.findall(r"[a-z0-9]+", f"{route.method} {route.path}".lower()))


def _noun(path: str) -> str:
    parts = path.strip("/").split("/")
    return parts[1] if parts[0] == "v1" else "service"


def _parameters(route: Route) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", route.path):
        about, _ = PATH[name]
        yield {"name": name, "in": "path", "required": True, "description": about, "schema": {"type": "string"}}
    for name in sorted(route.params):
        about, schema = BY_ROUTE.get((route.path, name), QUERY[name])
        parameter = {"name": name, "in": "query", "schema": schema, "required": (route.path, name) in REQUIRED}
        lists = {"style": "form", "explode": False} if schema["type"] == "array" else {}
        yield parameter | lists | ({"description": about} if about else {})
    for name in ("X-Request-Id", *route.doc.takes):
        about, schema = HEADERS[name]
        yield {"name": name, "in": "header", "description": about, "schema": schema}


def _responses(route: Route, schema_of: Mapping[object, Json]) -> Json:
    """Return every status that the route can answer with; a status may be both an answer and a refusal."""
    responses: dict[str, Json] = {}
    for status, kinds in route.doc.answers.items():
        content: Json = {}
        for kind in _kinds(kinds):
            is_media = isinstance(kind, str)
            content[str(kind) if is_media else "application/json"] = {
                "schema": {"type": "string"} if is_media else schema_of[kind]
            }
        responses[str(status)] = {
            "description": route.doc.summary if status < 400 else "not now",
            "headers": _headers(("X-Request-Id", *route.doc.gives, *_rate_headers(route))),
            "content": content,
        }
    for refused, codes in refusals(route).items():
        response = responses.setdefault(refused, {"description": "", "headers": {}, "content": {}})
        told = "code " + ", ".join(f"`{code}`" for code in sorted(codes))
        response["description"] = "; ".join(filter(None, [response["description"], told]))
        waits = ("Retry-After",) if refused in ("429", "503") else ()
        response["headers"] |= _headers(("X-Request-Id", *waits, *_rate_headers(route)))
        response["content"]["application/problem+json"] = {"schema": schema_of[Problem]}
    return dict(sorted(responses.items()))


def _headers(names: Collection[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def refusals(route: Route) -> dict[str, set[str]]:
    """Return the codes of each status that the route may refuse with."""
    codes: dict[str, set[str]] = defaultdict(set)
    for refusal in {*route.doc.refusals, *_implied(route)}:
        answer = ANSWERS[refusal]
        codes[str(answer.status.value)].add(answer.code)
    codes["500"].add("internal")
    return codes


def _rate_headers(route: Route) -> Collection[str]:
    return RATE_HEADERS if route.is_rated and route.access is not Access.PUBLIC else ()


def _implied(route: Route) -> Iterator[type[MarketError]]:
    """Yield what follows from the kind of a route."""
    yield from (InvalidArguments, UnknownField, PayloadTooLarge, Unavailable)
    if route.access is not Access.PUBLIC:
        yield from (AuthRequired, AuthInvalidKey, AuthInvalidSignature, AuthTimestamp, AuthPermissionDenied)
        if route.method != "GET":
            yield AuthCsrf
    if route.is_rated:
        yield RateLimited
    if route.method in BODY_METHODS:
        yield from (UnsupportedMediaType, DeadlineElapsed)
    if route.method != "GET":
        yield from (Busy, OutcomeUnknown)
    for name in re.findall(r"{(\w+)}", route.path):
        if (refusal := PATH[name][1]) is not None:
            yield refusal
