"""Holds an answer to what its route declares: the status, the media type, every key and the form of every value.

A key that is not declared fails as well, so the published contract is whole and not only true.
"""

import functools
import json
import operator
import re
from collections.abc import Mapping
from functools import cache, reduce
from operator import or_
from typing import Any

from pydantic import BaseModel, TypeAdapter

from gateway.answers.fields import Problem
from gateway.answers.orders import ErrorDetail
from gateway.answers.socket import RateLeft
from gateway.openapi import refusals
from gateway.rest.api import Route
from gateway.rest.routes import ROUTES
from gateway.ws.contract import CHANNEL_DOCS, METHOD_DOCS

NO_ROUTE = {404: "not_found", 405: "method_not_allowed", 413: "payload_too_large"}


def route_of(method: str, path: str) -> Route | None:
    """Return the route that serves a path, which may have a query. One without parameters comes first."""
    plain = path.partition("?")[0]
    for route in sorted(ROUTES, key=lambda route: route.path.count("{")):
        if route.method == method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", route.path), plain):
            return route
    return None


def check_answer(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raises AssertionError or ValidationError for an answer that the contract does not know."""
    route, media = route_of(method, path), headers["Content-Type"].partition(";")[0]
    if media == "application/problem+json":
        problem = _adapter(Problem).validate_json(body, strict=True, extra="forbid")
        known = {NO_ROUTE.get(status)} if route is None else refusals(route).get(str(status), set())
        assert problem.status == status
        assert problem.code in known, f"{method} {path} does not declare {status} {problem.code}"
        return
    assert route is not None, f"{method} {path} is served without a route"
    assert status in route.doc.answers, f"{method} {path} does not declare {status}"
    told = route.doc.answers[status]
    kinds = told if isinstance(told, tuple) else (told,)
    if media == "application/json":
        [kind] = [kind for kind in kinds if not isinstance(kind, str)]
        _adapter(kind).validate_json(body, strict=True, extra="forbid")
    else:
        assert media in kinds, f"{method} {path} does not declare {media}"
    for name in route.doc.gives:
        assert name == "Link" or name in headers or status == 200, f"{method} {path} lacks {name}"


def check_push(message: Mapping[str, Any]) -> None:
    """The same of what a channel tells on the socket, with its decimals as text."""
    doc = CHANNEL_DOCS[message["channel"]]
    assert message.keys() - set(doc.more) == {"channel", "type", "data"}, f"{message['channel']}: {list(message)}"
    assert message["type"] in ("snapshot", "update")
    for row in message["data"]:
        kinds = [kind for kind in doc.rows if ("removed" in kind.model_fields) == ("removed" in row)]
        _adapter(functools.reduce(operator.or_, kinds)).validate_json(json.dumps(row), strict=True, extra="forbid")


def check_reply(message: Mapping[str, Any]) -> None:
    """The same of a reply on the socket."""
    method = "ping" if message["method"] == "pong" else message["method"]
    assert message["success"] in (True, False)
    parts = ("result",) if message["success"] else ("error", "error_detail")
    beside = {"rate"} if message["success"] else {"rate", "symbol", "order_id", "cl_ord_id"}
    assert message.keys() - beside == {"method", "req_id", "success", "time_in", "time_out", *parts}
    if "rate" in message:
        _adapter(RateLeft).validate_json(json.dumps(message["rate"]), strict=True, extra="forbid")
    kind = _any_of(METHOD_DOCS[method].results) if message["success"] else ErrorDetail
    _adapter(kind).validate_json(json.dumps(message[parts[-1]]), strict=True, extra="forbid")


def _any_of(kinds: tuple[type[BaseModel], ...]) -> Any:
    return reduce(or_, kinds)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
