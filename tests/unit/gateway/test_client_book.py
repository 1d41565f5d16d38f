"""A book from messages: the published vectors, the cut to its depth, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Book, BookError, Level

VECTORS = json.loads((Path(__file__).resolve().parents[3] / "docs/vectors/book_checksums.json").read_text())
SUMS = {"checksum", "digest"}


def row(bids: list[tuple[str, str]], asks: list[tuple[str, str]], **more: Any) -> dict[str, Any]:
    """Return a row whose sums are those of the whole book that it makes, if it is a snapshot."""
    sides = {"bids": bids, "asks": asks}
    levels = {name: [{"price": price, "qty": qty} for price, qty in side] for name, side in sides.items()}
    return {"symbol": "L1/USD", "epoch": 1, "seq": 1, **levels, **more}


def sums_of(bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> dict[str, int]:
    book = Book("L1/USD", 500)
    book._bids, book._asks = dict(bids), dict(asks)
    return {"checksum": book.checksum(), "digest": book.digest()}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_sums_are_those_of_the_published_vectors(vector: dict[str, Any]) -> None:
    book = Book("L1/USD", 500)
    told = {name: vector[name] for name in ("bids", "asks", "checksum", "digest")}
    book.take("snapshot", {"symbol": "L1/USD", "epoch": 1, "seq": 7, **told})
    assert (book.checksum(), book.digest(), book.seq) == (vector["checksum"], vector["digest"], 7)


def test_an_update_removes_changes_and_cuts_to_the_depth() -> None:
    book = Book("L1/USD", 2)
    first = sums_of([(9_800, 100), (9_700, 200)], [(9_900, 300)])
    book.take("snapshot", row([("98.00", "1.00"), ("97.00", "2.00")], [("99.00", "3.00")], **first))
    second = sums_of([(9_850, 500), (9_800, 100)], [])
    book.take("update", row([("98.50", "5.00")], [("99.00", "0.00")], prev_seq=1, **{**second, "seq": 2}))
    assert (book.bids, book.asks) == ([Level(9_850, 500), Level(9_800, 100)], [])
    assert (book.best_bid, book.best_ask) == (Level(9_850, 500), None)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        pytest.param({"prev_seq": 2}, "came after", id="a step is missing"),
        pytest.param({"epoch": 2}, "came after", id="another epoch"),
        pytest.param({"checksum": 1}, "differs", id="another checksum"),
        pytest.param({"digest": 1}, "differs", id="another digest"),
    ],
)
def test_a_message_that_does_not_follow_is_refused(changed: dict[str, int], why: str) -> None:
    book = Book("L1/USD")
    book.take("snapshot", row([], [], **sums_of([], [])))
    with pytest.raises(BookError, match="does not have it"):
        book.take("update", row([], [("99.00", "0.00")], prev_seq=1, **sums_of([], [])))
    fitting = row([("98.00", "1.00")], [], prev_seq=1, seq=2, **sums_of([(9_800, 100)], []))
    with pytest.raises(BookError, match=why):
        book.take("update", fitting | changed)
