"""docs/vectors/messages keeps to the published schemas, and leaves out nothing that a client can meet on the socket."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gateway.access.auth import login_signature
from gateway.asyncapi import asyncapi
from gateway.errors import ANSWERS
from gateway.ws.contract import CHANNEL_DOCS, METHOD_DOCS
from market.commands import Mode
from market.orderbook.order import ExecType, OrderStatus
from tests.contract import check_push, check_reply
from tests.e2e.golden_scenes import SCENES

Json = dict[str, Any]
FOLDER = Path(__file__).resolve().parents[3] / "docs" / "vectors" / "messages"
FILES = {file.stem: [json.loads(line) for line in file.read_text().splitlines()] for file in FOLDER.glob("*.jsonl")}
SECRET = "c2VjcmV0IGJ5dGVz"
# Codes that no frame is answered with: they belong to REST, or to a state of the service that a recording can't reach.
NOT_HERE = {
    "auth_timestamp", "auth_csrf", "auth_invalid_login", "payload_too_large", "method_not_allowed", "not_found",
    "unsupported_media_type", "busy", "unavailable",
}  # fmt: skip


def messages(sender: str) -> Iterator[Json]:
    for lines in FILES.values():
        for line in lines:
            if line.get("from") == sender and "message" in line:
                yield line["message"]


REQUESTS, TOLD = list(messages("client")), list(messages("market"))
REPLIES = [message for message in TOLD if "channel" not in message]
PUSHES = [message for message in TOLD if "channel" in message]


@pytest.fixture(scope="module")
def payloads() -> dict[str, Draft202012Validator]:
    """A validator of each message of the AsyncAPI document."""
    document = asyncapi(version="1")
    return {
        name: Draft202012Validator({**document, "$ref": f"#/components/messages/{name}/payload"})
        for name in document["components"]["messages"]
    }


def test_there_is_a_file_for_each_scene() -> None:
    assert FILES.keys() == SCENES.keys()
    assert all("about" in lines[0] and lines[0]["about"] for lines in FILES.values())


@pytest.mark.parametrize("name", FILES)
def test_every_message_keeps_to_its_schema(payloads: dict[str, Draft202012Validator], name: str) -> None:
    """Requests that are refused for their form are there to break it."""
    asked: list[Json] = []
    for line in FILES[name]:
        message = line.get("message", {})
        if line.get("from") == "client":
            asked.append(message or request_in(line["text"]))
        elif "channel" in message:
            payloads[f"{message['channel']}_push"].validate(message)
            check_push(message)
        elif message:
            method = "ping" if message["method"] == "pong" else message["method"]
            payloads[f"{method}_reply" if message["success"] else "refusal"].validate(message)
            check_reply(message)
            if message["success"]:
                [request] = [each for each in asked if each.get("req_id") == message["req_id"]][-1:]
                payloads[f"{message_name(request)}_request"].validate(request)


def request_in(text: str) -> Json:
    """Return the request of a frame that was sent as text, nothing if it is none."""
    try:
        request = json.loads(text)
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}


def message_name(request: Json) -> str:
    is_board = request.get("params", {}).get("channel") == "board"
    return f"{request['method']}_board" if is_board else str(request["method"])


def test_every_method_is_asked_and_answered() -> None:
    asked = {request["method"] for request in REQUESTS}
    answered = {reply["method"] for reply in REPLIES if reply["success"]}
    assert METHOD_DOCS.keys() <= asked
    assert METHOD_DOCS.keys() - {"ping"} | {"pong"} == answered


def test_every_method_but_the_plainest_is_refused_once() -> None:
    refused = {reply["method"] for reply in REPLIES if not reply["success"]}
    assert METHOD_DOCS.keys() - refused <= {
        "ping", "logout", "unsubscribe", "resync", "unblock", "cancel_all_orders_after", "reset_mmp", "batch_cancel",
        "resolve_order",
    }  # fmt: skip


def test_every_channel_tells_a_snapshot_and_updates() -> None:
    told = {(push["channel"], push["type"]) for push in PUSHES}
    for channel in CHANNEL_DOCS:
        assert (channel, "update") in told
        assert (channel, "snapshot") in told or channel in ("status", "heartbeat")


def test_every_kind_of_execution_and_every_state_is_there() -> None:
    rows = [row for push in PUSHES if push["channel"] == "executions" for row in push["data"]]
    assert {row["exec_type"] for row in rows} == set(ExecType)
    assert {row["order_status"] for row in rows} == set(OrderStatus)
    assert {row.get("liquidity_ind") for row in rows} == {None, "m", "t"}
    modes = {row["mode"] for push in PUSHES if push["channel"] == "status" for row in push["data"]}
    assert modes == set(Mode)


def test_every_error_of_the_socket_is_there() -> None:
    codes = set(codes_in(REPLIES))
    assert codes == {answer.code for answer in ANSWERS.values()} - NOT_HERE


def codes_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "outcome" in value:
            yield value["code"]
        for member in value.values():
            yield from codes_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from codes_in(member)


def test_the_logins_can_be_checked_with_the_published_secret() -> None:
    checked = 0
    for lines in FILES.values():
        greeting: Json = {}
        for line in lines:
            message = line.get("message", {})
            if message.get("channel") == "status" and "challenge" in message["data"][0]:
                greeting = message["data"][0]
            params = message.get("params") or {}
            if params.get("sig", "").strip("0"):
                assert params["sig"] == login_signature(
                    SECRET,
                    connection_id=greeting["connection_id"],
                    challenge=params["challenge"],
                    key=params["api_key"],
                )
                checked += 1
    assert checked > 10
