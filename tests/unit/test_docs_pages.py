"""The pages of docs/ as a whole: each is in the index, links lead somewhere, requests in them are taken."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gateway.asyncapi import asyncapi
from gateway.openapi import openapi
from gateway.rest.routes import ROUTES
from market.orderbook.order import CancelReason, ExecType, OrderStatus

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as they are made where it is shown."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(file.read_text()), f"{link}: there is no such heading"


def test_every_page_is_in_the_index_and_the_readmes_name_it() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    named = {(ROOT / "docs" / link).resolve() for link in LINK.findall(index)}
    assert {page for page in PAGES if page.name != "README.md"} <= named
    assert (ROOT / "docs" / "vectors" / "README.md").resolve() in named
    for readme in ("README.md", "README.zh-CN.md"):
        assert "docs/README.md" in LINK.findall((ROOT / readme).read_text())


def requests() -> list[Any]:
    """Every request to the socket that a page shows in full: JSON with a method, a block or a line of one."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```json\n(.*?)```", page.read_text(), re.DOTALL):
            for text in (block, *block.splitlines()):
                try:
                    value = json.loads(text)
                except ValueError:
                    continue
                if isinstance(value, dict) and "method" in value and "success" not in value:
                    found.append(pytest.param(value, id=f"{page.name}-{value['method']}"))
    return found


@pytest.mark.parametrize("request_shown", requests())
def test_every_request_that_is_shown_keeps_to_its_schema(request_shown: dict[str, Any]) -> None:
    document = asyncapi(version="1")
    is_board = request_shown["params"].get("channel") == "board"
    name = f"{request_shown['method']}{'_board' if is_board else ''}_request"
    Draft202012Validator({**document, "$ref": f"#/components/messages/{name}/payload"}).validate(request_shown)


def test_there_are_requests_to_check() -> None:
    assert len(requests()) >= 4


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_route_that_is_named_is_served(page: Path) -> None:
    paths = openapi(ROUTES, version="1")["paths"]
    served = {(method.upper(), re.sub(r"{\w+}", "{}", path)) for path, methods in paths.items() for method in methods}
    for method, path in re.findall(rf"`({'|'.join(METHODS)}) (/v1/[^`?\s\[]*)", page.read_text()):
        plain = re.sub(r"{\w+}", "{}", path)
        assert (method, plain) in served, f"{page.name}: {method} {path} is not served"


def test_the_life_of_an_order_is_told_whole() -> None:
    page = (ROOT / "docs" / "order_lifecycle.md").read_text()
    first_cells = re.findall(r"^\| ([^|]*) \|", page, re.MULTILINE)
    told = {word for cell in first_cells for word in re.findall(r"`(\w+)`", cell)}
    assert set(ExecType) <= told
    assert set(CancelReason) <= told
    assert all(f"`{status}`" in page for status in OrderStatus)
