"""The shape of the house: the core is pure, and imports point inward only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = [
    *sorted((ROOT / "market").glob("*.py")),
    *sorted((ROOT / "market" / "claims").glob("*.py")),
    *sorted((ROOT / "market" / "orderbook").glob("*.py")),
    *sorted((ROOT / "market" / "venue").glob("*.py")),
    ROOT / "market" / "settlement" / "journal.py",
]
SHELL = {ROOT / "market" / "engine.py", ROOT / "market" / "port.py"}
IMPURE = {
    "aiohttp", "asyncio", "asyncpg", "gateway", "http", "logging", "os", "pathlib", "prometheus_client", "random",
    "redis", "secrets", "socket", "subprocess", "sys", "threading", "time", "uuid", "uvloop",
}  # fmt: skip
# What a part may import of our own; its own folder is always allowed. journal.py is core though it lies in settlement/.
INWARD = {
    "market/claims": {"market.ids", "market.money", "market.claims", "market.errors", "market.orderbook.order"},
    "market/orderbook": {"market.ids", "market.money", "market.errors", "market.orderbook", "market.events"},
    "market/settlement": {"market"},
    "market": {"market"},
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", [p for p in CORE if p not in SHELL], ids=lambda p: str(p.relative_to(ROOT)))
def test_core_modules_are_pure(path: Path) -> None:
    found = {name for name in imports(path) if name.split(".")[0] in IMPURE}
    assert not found, f"{path.name} imports {found}: time, chance and I/O belong to the shell"
    assert "datetime.now" not in path.read_text()
    assert ".today()" not in path.read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "market").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_market_knows_nothing_of_the_gateway(path: Path) -> None:
    folder = str(path.relative_to(ROOT).parent)
    allowed = INWARD.get(folder, {"market"})
    for name in imports(path):
        root = name.split(".")[0]
        assert root not in {"gateway", "aiohttp"}, f"{path.name} imports {name}"
        if root == "market":
            assert any(name == a or name.startswith(a + ".") for a in allowed), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "market" / "settlement").glob("*.py")), ids=lambda p: p.name)
def test_settlement_reads_events_never_books(path: Path) -> None:
    assert "market.orderbook.book" not in set(imports(path))
