"""The socket's contract as AsyncAPI 3, made from the tables of ws/contract.py.

One channel, the socket: every method is an operation that receives a request and sends its reply, every feed one that
sends. Schemas are those of the models that check requests, and of the models that the tests hold every push to.
"""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from gateway.answers.orders import ErrorDetail
from gateway.answers.socket import RateLeft
from gateway.openapi import PlainSchemas
from gateway.ws.contract import BOARD_DOCS, CHANNEL_DOCS, METHOD_DOCS, MORE, ChannelDoc, MethodDoc
from gateway.ws.routes import PATHS

Json = dict[str, Any]
Schemas = dict[type[BaseModel], Json]

SOCKET = "#/channels/socket"
REQ_ID = {"type": ["integer", "string", "null"], "description": "given back with the reply"}
TIME = {"type": "string", "format": "date-time"}
ABOUT = """
Text frames, one JSON object each. Public channels need no login; private ones and orders take `login`, or a `token`
(from `POST /v1/ws-token`) with each request. Decimals are strings; with `?num=json` on the URL they are JSON numbers.
Every reply echoes `req_id`; what could not be read is answered with `method: null`. Slow readers get states merged,
marked by `conflated`; trades and executions are never merged. Recipes for books, executions, candles and the board are
in docs/market_data.md.
""".strip()


def asyncapi(*, version: str) -> Json:
    """Return the document. version: of the product."""
    schema_of, schemas = _schemas()
    requests = METHOD_DOCS | {f"{method}_board": doc for method, doc in BOARD_DOCS.items()}
    messages = {f"{name}_request": _request(name, doc, schema_of) for name, doc in requests.items()}
    messages |= {f"{name}_reply": _reply(name, doc, schema_of) for name, doc in METHOD_DOCS.items()}
    messages |= {"refusal": _refusal(schema_of)}
    messages |= {f"{name}_push": _push(name, doc, schema_of) for name, doc in CHANNEL_DOCS.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "debt-market socket", "version": version, "description": ABOUT},
        "defaultContentType": "application/json",
        "servers": {"here": {"host": "localhost:8080", "protocol": "ws", "description": "`wss` behind a TLS proxy"}},
        "channels": {
            "socket": {
                "address": PATHS[0],
                "servers": [{"$ref": "#/servers/here"}],
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": {
            **{name: _asked(name, doc) for name, doc in requests.items()},
            **{f"push_{name}": _told(name, doc) for name, doc in CHANNEL_DOCS.items()},
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _schemas() -> tuple[Schemas, Json]:
    """Return the schema of every type that is sent or received, and the components that these refer to."""
    types: dict[type[BaseModel], None] = dict.fromkeys(
        [
            *(doc.params for doc in (*METHOD_DOCS.values(), *BOARD_DOCS.values())),
            *(result for doc in METHOD_DOCS.values() for result in doc.results),
            RateLeft,
            *(row for doc in CHANNEL_DOCS.values() for row in doc.rows),
            ErrorDetail,
        ]
    )
    adapters: list[tuple[int, Literal["validation"], TypeAdapter[Any]]] = [
        (i, "validation", TypeAdapter[Any](each)) for i, each in enumerate(types)
    ]
    schemas, rest = TypeAdapter.json_schemas(
        adapters, ref_template="#/components/schemas/{model}", schema_generator=PlainSchemas
    )
    return {each: schemas[(i, "validation")] for i, each in enumerate(types)}, rest["$defs"]


def _request(name: str, doc: MethodDoc, schema_of: Schemas) -> Json:
    method = name.removesuffix("_board")
    members = {"method": {"const": method}, "params": schema_of[doc.params], "req_id": REQ_ID}
    return _message(name, f"{doc.summary} (replies: {doc.replies})", _object(members, ["method"], closed=True))


def _reply(name: str, doc: MethodDoc, schema_of: Schemas) -> Json:
    results = [schema_of[each] for each in doc.results]
    members = {
        "method": {"const": "pong" if name == "ping" else name},
        "req_id": REQ_ID,
        "success": {"const": True},
        "result": results[0] if len(results) == 1 else {"anyOf": results},
        **_common(schema_of),
    }
    return _message(name, f"The answer to {name}", _object(members, ["method", "req_id", "success", "result"]))


WHICH = "which of those that were named, where a request is answered for each of them"


def _refusal(schema_of: Schemas) -> Json:
    members = {
        "method": {"type": ["string", "null"], "description": "as asked; null for what could not be read"},
        "req_id": REQ_ID,
        "success": {"const": False},
        "error": {"type": "string", "description": "as existing clients know it"},
        "error_detail": schema_of[ErrorDetail],
        **{name: {"type": "string", "description": WHICH} for name in ("symbol", "order_id", "cl_ord_id")},
        **_common(schema_of),
    }
    required = ["method", "req_id", "success", "error", "error_detail"]
    return _message("refusal", "The answer to a request that was refused", _object(members, required))


def _common(schema_of: Schemas) -> Json:
    """Return what every reply has. rate: of private requests."""
    return {"rate": schema_of[RateLeft], "time_in": TIME, "time_out": TIME}


def _push(name: str, doc: ChannelDoc, schema_of: Schemas) -> Json:
    rows = [schema_of[row] for row in doc.rows]
    items: Json = {} if not rows else {"items": rows[0] if len(rows) == 1 else {"anyOf": rows}}
    members = {
        "channel": {"const": name},
        "type": {"enum": ["snapshot", "update"]},
        "data": {"type": "array", **items},
        **{key: MORE[key] for key in doc.more},
    }
    return _message(name, doc.summary, _object(members, ["channel", "type", "data"]))


def _object(members: Json, required: Iterable[str], *, closed: bool = False) -> Json:
    shape: Json = {"type": "object", "properties": members, "required": list(required)}
    return shape | ({"additionalProperties": False} if closed else {})


def _message(name: str, summary: str, payload: Json) -> Json:
    return {"name": name, "summary": summary, "payload": payload}


def _asked(name: str, doc: MethodDoc) -> Json:
    return {
        "action": "receive",
        "channel": {"$ref": SOCKET},
        "summary": doc.summary,
        "messages": [{"$ref": f"{SOCKET}/messages/{name}_request"}],
        "reply": {
            "channel": {"$ref": SOCKET},
            "messages": [
                {"$ref": f"{SOCKET}/messages/{each}"} for each in (f"{name.removesuffix('_board')}_reply", "refusal")
            ],
        },
    }


def _told(name: str, doc: ChannelDoc) -> Json:
    return {
        "action": "send",
        "channel": {"$ref": SOCKET},
        "summary": doc.summary + (" (private)" if doc.is_private else ""),
        "messages": [{"$ref": f"{SOCKET}/messages/{name}_push"}],
    }
