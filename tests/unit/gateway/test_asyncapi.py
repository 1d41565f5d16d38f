"""The socket's document is whole: every method and channel is in it, every reference leads somewhere."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from gateway.asyncapi import asyncapi
from gateway.ws.contract import CHANNEL_DOCS, METHOD_DOCS
from gateway.ws.methods import METHODS
from gateway.ws.subscriptions import Channel


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return asyncapi(version="1")


def test_every_method_and_every_channel_is_described() -> None:
    assert METHOD_DOCS.keys() == METHODS.keys()
    assert CHANNEL_DOCS.keys() == {*get_args(Channel), "board"}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert len(found) > 40
    for reference in found:
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        assert isinstance(place, dict)


def test_requests_are_closed_and_name_what_they_must_have(document: dict[str, Any]) -> None:
    payload = document["components"]["messages"]["add_order_request"]["payload"]
    assert (payload["required"], payload["additionalProperties"]) == (["method"], False)
    order = document["components"]["schemas"]["SocketOrder"]
    assert {"symbol", "side", "order_qty"} <= set(order["required"])
    assert order["additionalProperties"] is False
    board = document["components"]["schemas"]["BoardSubscription"]["properties"]
    assert {"q", "min_ytm", "max_available", "sort", "limit", "channel"} <= board.keys()
    assert document["operations"]["push_book"]["action"] == "send"
    assert document["operations"]["add_order"]["action"] == "receive"


def test_a_reply_says_what_its_method_answers(document: dict[str, Any]) -> None:
    """Every operation that is asked names its own reply, whose result has a type, and the refusal of all."""
    for name, operation in document["operations"].items():
        if operation["action"] != "receive":
            continue
        method = name.removesuffix("_board")
        said = [message["$ref"].rpartition("/")[2] for message in operation["reply"]["messages"]]
        assert said == [f"{method}_reply", "refusal"]
        payload = document["components"]["messages"][said[0]]["payload"]
        assert payload["properties"]["method"] == {"const": "pong" if method == "ping" else method}
        kinds = payload["properties"]["result"].get("anyOf", [payload["properties"]["result"]])
        assert all(kind["$ref"].startswith("#/components/schemas/") for kind in kinds), name
    acked = document["components"]["schemas"]["OrderAcked"]
    assert {"order_id", "order_status", "engine_seq", "duplicate"} <= set(acked["required"])
