"""The published REST contract: complete, sound, and in agreement with what checks the requests."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from gateway.errors import UnknownField
from gateway.openapi import EXAMPLE_SECRET, EXAMPLE_SIGNATURE, openapi, operation_id
from gateway.requests.loans import NewLoan
from gateway.requests.orders import AmendParams, RestOrder
from gateway.rest.api import BODY_METHODS, Access, Route
from gateway.rest.routes import ROUTES
from market.errors import InvalidArguments

DOCUMENT = openapi(ROUTES, version="1.2.3")
SCHEMAS = DOCUMENT["components"]["schemas"]


def operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][route.path][route.method.lower()]
    return found


def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}})


def references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_every_route_is_described_and_nothing_else() -> None:
    told = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert told == {(route.method, route.path) for route in ROUTES}
    assert len({operation_id(route) for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=operation_id)
def test_a_route_says_what_it_takes_and_what_it_answers(route: Route) -> None:
    told = operation(route)
    assert told["summary"]
    assert any(200 <= int(status) < 300 for status in told["responses"])
    assert ("requestBody" in told) == (route.method in BODY_METHODS)
    assert ("security" in told) == (route.access is not Access.PUBLIC)
    signs_in = (route.method, route.path) == ("POST", "/v1/session")
    assert ("401" in told["responses"]) == (route.access is not Access.PUBLIC or signs_in)
    in_path = [p["name"] for p in told["parameters"] if p["in"] == "path"]
    assert in_path == re.findall(r"{(\w+)}", route.path)
    assert {p["name"] for p in told["parameters"] if p["in"] == "query"} == route.params
    assert all(p["schema"] for p in told["parameters"])


@pytest.mark.parametrize("route", [route for route in ROUTES if route.doc.body is not None], ids=operation_id)
def test_an_example_is_taken_by_the_model_and_by_the_schema(route: Route) -> None:
    TypeAdapter[Any](route.doc.body).validate_json(json.dumps(route.doc.example), strict=True)
    wanted = operation(route)["requestBody"]["content"]["application/json"]["schema"]
    Draft202012Validator({**wanted, "components": {"schemas": SCHEMAS}}).validate(route.doc.example)


def test_every_schema_is_sound_and_every_reference_leads_somewhere() -> None:
    for each in SCHEMAS.values():
        Draft202012Validator.check_schema(each)
    for reference in references(DOCUMENT):
        place: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        assert place


ORDER = {"loan_id": "L1", "side": "buy", "limit_price": "98.00", "order_qty": "100.00"}


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"side": "hold"}, id="a word that is none of the enumeration"),
        pytest.param({"limit_price": "9.8e1"}, id="a decimal in scientific notation"),
        pytest.param({"limit_price": True}, id="a truth value for a decimal"),
        pytest.param({"order_qty": None}, id="null for what is required"),
        pytest.param({"post_only": "true"}, id="text for a truth value"),
        pytest.param({"colour": "red"}, id="an unknown field"),
        pytest.param({"cl_ord_id": "x" * 37}, id="a client order id that is too long"),
        pytest.param({"if_book_seq": -1}, id="a negative number"),
    ],
)
def test_schema_and_model_refuse_the_same_order(changed: dict[str, Any]) -> None:
    assert schema("RestOrder").is_valid(ORDER)
    RestOrder.parse(ORDER)
    assert not schema("RestOrder").is_valid(ORDER | changed)
    with pytest.raises((InvalidArguments, UnknownField)):
        RestOrder.parse(ORDER | changed)


def test_the_wires_names_are_those_of_the_contract() -> None:
    """`validate` is another word inside: pydantic has a method of that name."""
    assert "validate" in SCHEMAS["RestOrder"]["properties"]
    assert set(SCHEMAS["AmendParams"]["properties"]) == set(AmendParams.model_fields)
    assert SCHEMAS["NewLoan"]["required"] == [
        name for name, field in NewLoan.model_fields.items() if field.is_required()
    ]
    with pytest.raises(InvalidArguments):
        RestOrder.parse({})


def test_the_example_of_a_signature_is_told_whole() -> None:
    about = DOCUMENT["info"]["description"]
    assert EXAMPLE_SECRET in about
    assert EXAMPLE_SIGNATURE in about
    assert EXAMPLE_SIGNATURE == "9c7d8b27d60077389d1ea7f03d840b7aff1a806de49bc1da06c8e7afe719179c"  # as openssl says


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        pytest.param("If-Match", ['"3"', 'W/"3"', "*"], ["three", '"3', ""], id="a version"),
        pytest.param("Idempotency-Key", ["mm1-42"], ["a b", "x" * 37], id="a client order id"),
        pytest.param("X-Request-Id", ["r/1"], ["a b", "\x00", "\u00e9", "x" * 129], id="printable ASCII"),
    ],
)
def test_a_header_is_described_as_narrowly_as_it_is_read(name: str, good: list[str], bad: list[str]) -> None:
    header = Draft202012Validator(DOCUMENT["components"]["headers"][name]["schema"])
    assert all(header.is_valid(text) for text in good)
    assert not any(header.is_valid(text) for text in bad)
