"""Depth views and check numbers; the vectors for other programs are docs/vectors/book_checksums.json."""

import json
import random
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from market.errors import InvariantViolation
from market.events import LevelChange
from market.ids import Face, PriceBp
from market.orderbook.depth import Depth, DepthDelta, LevelBook, Row, checksum, digest
from market.orderbook.order import Side

VECTORS = Path(__file__).resolve().parents[3] / "docs" / "vectors" / "book_checksums.json"


def rows(*levels: tuple[int, int]) -> list[Row]:
    return [(PriceBp(price), Face(quantity)) for price, quantity in levels]


def bids(*levels: tuple[int, int]) -> list[LevelChange]:
    return [LevelChange(Side.BUY, price, quantity) for price, quantity in rows(*levels)]


def asks(*levels: tuple[int, int]) -> list[LevelChange]:
    return [LevelChange(Side.SELL, price, quantity) for price, quantity in rows(*levels)]


def told(book: LevelBook, changes: list[LevelChange]) -> DepthDelta | None:
    """Apply one batch to a book with one view; return its delta."""
    book.apply(changes)
    deltas = book.flush()
    return deltas[0] if deltas else None


# Check numbers

PROTOCOL_BIDS, PROTOCOL_ASKS = rows((9_800, 100_000), (9_799, 1)), rows((9_850, 200_000), (9_851, 1_550))


def test_check_numbers_of_the_protocol() -> None:
    assert checksum(PROTOCOL_BIDS, PROTOCOL_ASKS) == 2_295_406_951
    assert digest(PROTOCOL_BIDS, PROTOCOL_ASKS) == 2_129_891_230
    assert digest([], []) == 1_885_708_031


def test_digest_tells_apart_what_the_checksum_does_not() -> None:
    """Without separators 985|0200 reads like 9850|200, and a bid like an ask."""
    pairs = [(rows(), rows((985, 200))), (rows(), rows((98, 5_200))), (rows((985, 200)), rows())]
    assert len({checksum(*pair) for pair in pairs}) == 1
    assert len({digest(*pair) for pair in pairs}) == 3


def vectors() -> list[dict[str, Any]]:
    """Return the shipped vectors: books of all shapes, what is hashed, and both numbers, from the protocol's words."""
    books = {
        "the protocol's example": (PROTOCOL_BIDS, PROTOCOL_ASKS),
        "empty": (rows(), rows()),
        "one bid": (rows((9_725, 100)), rows()),
        "one ask": (rows(), rows((10_000, 1))),
        "extremes of price and quantity": (rows((1, 1)), rows((20_000, 999_999_999_999_99))),
    }
    rng = random.Random(9_725)
    for deep in (5, 10, 11, 25):
        bid_prices = sorted(rng.sample(range(9_000, 9_800), deep), reverse=True)
        ask_prices = sorted(rng.sample(range(9_800, 10_600), deep))
        books[f"{deep} levels a side"] = (
            rows(*((price, rng.randint(1, 10_000_000)) for price in bid_prices)),
            rows(*((price, rng.randint(1, 10_000_000)) for price in ask_prices)),
        )
    return [vector(name, *book) for name, book in books.items()]


def vector(name: str, bid_rows: list[Row], ask_rows: list[Row]) -> dict[str, Any]:
    checksum_text = "".join(f"{price}{quantity}" for price, quantity in ask_rows[:10] + bid_rows[:10])
    sides = ("|".join(f"{price}:{quantity}" for price, quantity in side[:10]) for side in (ask_rows, bid_rows))
    digest_text = "#".join(sides)
    return {
        "name": name,
        "bids": [wire(row) for row in bid_rows],
        "asks": [wire(row) for row in ask_rows],
        "checksum_text": checksum_text,
        "checksum": crc32(checksum_text.encode()),
        "digest_text": digest_text,
        "digest": crc32(digest_text.encode()),
    }


def wire(row: Row) -> dict[str, str]:
    price, quantity = row
    return {"price": f"{price // 100}.{price % 100:02}", "qty": f"{quantity // 100}.{quantity % 100:02}"}


def units(level: dict[str, str]) -> Row:
    return PriceBp(int(level["price"].replace(".", ""))), Face(int(level["qty"].replace(".", "")))


def as_file(content: list[dict[str, Any]]) -> str:
    return json.dumps(content, indent=1) + "\n"


def test_shipped_vectors_are_up_to_date() -> None:
    """To write them anew: python -m tests.unit.orderbook.test_depth."""
    assert VECTORS.read_text() == as_file(vectors())


@pytest.mark.parametrize(
    "book", json.loads(VECTORS.read_text()) if VECTORS.exists() else [], ids=lambda book: book["name"]
)
def test_shipped_vector(book: dict[str, Any]) -> None:
    bid_rows, ask_rows = [units(level) for level in book["bids"]], [units(level) for level in book["asks"]]
    assert checksum(bid_rows, ask_rows) == book["checksum"]
    assert digest(bid_rows, ask_rows) == book["digest"]


# Views


def test_snapshot_is_the_best_levels_with_their_check_numbers() -> None:
    book = LevelBook([*bids((9_799, 1), (9_800, 5), (9_798, 9)), *asks((9_850, 2), (9_851, 3), (9_852, 4))])
    best_bids, best_asks = rows((9_800, 5), (9_799, 1)), rows((9_850, 2), (9_851, 3))
    expected = Depth(1, best_bids, best_asks, checksum(best_bids, best_asks), digest(best_bids, best_asks))
    assert book.view(2).snapshot() == expected
    assert book.best(Side.BUY) == (9_800, 5)
    assert book.best(Side.SELL) == (9_850, 2)


def test_delta_follows_the_snapshot_and_carries_the_check_numbers_after_it() -> None:
    book = LevelBook(bids((9_800, 5)))
    book.view(10)
    delta = told(book, [*bids((9_801, 3)), *asks((9_850, 2))])
    after = rows((9_801, 3), (9_800, 5)), rows((9_850, 2))
    assert delta == DepthDelta(10, 1, 2, rows((9_801, 3)), rows((9_850, 2)), checksum(*after), digest(*after))
    assert book.view(10).snapshot().seq == 2


def test_removals_come_first_then_best_to_worst() -> None:
    book = LevelBook([*bids((9_800, 5), (9_799, 5), (9_798, 5)), *asks((9_850, 5), (9_851, 5))])
    book.view(10)
    delta = told(
        book, [*bids((9_797, 1), (9_801, 1), (9_799, 0), (9_800, 0)), *asks((9_852, 1), (9_850, 0), (9_851, 7))]
    )
    assert delta is not None
    assert delta.bids == rows((9_800, 0), (9_799, 0), (9_801, 1), (9_797, 1))
    assert delta.asks == rows((9_850, 0), (9_851, 7), (9_852, 1))


def test_level_that_enters_when_another_leaves_is_told() -> None:
    book = LevelBook(bids((9_800, 5), (9_799, 6), (9_798, 7)))
    book.view(2)
    delta = told(book, bids((9_800, 0)))
    assert delta is not None
    assert delta.bids == rows((9_800, 0), (9_798, 7))


def test_level_pushed_out_by_a_better_one_is_not_told() -> None:
    book = LevelBook(bids((9_800, 5), (9_799, 6)))
    book.view(2)
    delta = told(book, bids((9_801, 4), (9_799, 9)))
    assert delta is not None
    assert delta.bids == rows((9_801, 4))


def test_change_below_the_view_is_not_told_and_takes_no_number() -> None:
    book = LevelBook(bids((9_800, 5), (9_799, 6), (9_798, 7)))
    book.view(2)
    assert told(book, bids((9_798, 8))) is None
    assert told(book, bids((9_798, 0))) is None
    assert book.view(2).snapshot().seq == 1


def test_change_and_back_within_a_batch_is_not_told() -> None:
    book = LevelBook(bids((9_800, 5)))
    book.view(2)
    assert told(book, bids((9_800, 0), (9_800, 5))) is None
    assert told(book, bids((9_801, 5), (9_801, 0))) is None
    assert told(book, bids((9_800, 5))) is None


def test_a_number_names_a_state_of_the_book_and_a_view_bears_that_of_its_last_change() -> None:
    book = LevelBook(bids((9_800, 5), (9_799, 6)))
    book.view(1)
    book.apply(bids((9_800, 4)))
    assert [(delta.depth, delta.prev_seq, delta.seq) for delta in book.flush(40)] == [(1, 1, 40)]
    assert book.view(2).seq == 40
    book.apply(bids((9_799, 1)))
    assert [(delta.depth, delta.prev_seq, delta.seq) for delta in book.flush(70)] == [(2, 40, 70)]
    book.apply(bids((9_799, 2), (9_799, 1)))
    assert (book.flush(80), book.seq) == ([], 70)
    book.apply(bids((9_800, 1)))
    assert [(delta.depth, delta.prev_seq, delta.seq) for delta in book.flush()] == [(1, 40, 71), (2, 70, 71)]
    assert (book.prev_seq, book.seq) == (70, 71)


def test_numbers_begin_anew_for_the_same_levels() -> None:
    book = LevelBook(bids((9_800, 5)))
    view = book.view(10)
    told(book, bids((9_800, 4)))
    book.restart(1)
    assert (book.seq, view.snapshot()) == (1, LevelBook(bids((9_800, 4))).view(10).snapshot())
    assert book.before == {}


@pytest.mark.parametrize("seed", range(5))
def test_a_former_state_comes_back_from_what_each_flush_changed(seed: int) -> None:
    rng, book, before = random.Random(seed), LevelBook(), dict[int, Face]()
    was = {}
    for turn in range(60):
        if turn == 20:
            was = {depth: book.view(depth).snapshot() for depth in (1, 5, 10, 500)}
        for _ in range(rng.randint(1, 4)):
            side = rng.choice([bids, asks])
            book.apply(side((rng.randint(9_700, 9_740), rng.choice([0, rng.randint(1, 3)]))))
        book.flush()
        if turn >= 20:
            before = book.before | before
    for depth, depth_then in was.items():
        assert book.as_of(depth_then.seq, before, depth) == depth_then


def test_book_that_nobody_views_tells_nothing() -> None:
    book = LevelBook()
    book.apply(bids((9_800, 5)))
    assert book.flush() == []
    assert book.rows(Side.BUY) == rows((9_800, 5))


def test_view_never_shows_half_a_batch() -> None:
    book = LevelBook()
    view = book.view(10)
    book.apply(bids((9_800, 5)))
    with pytest.raises(InvariantViolation):
        view.snapshot()
    with pytest.raises(InvariantViolation):
        book.view(25)


def test_change_in_the_depth_leaves_the_check_numbers_of_ten_levels() -> None:
    book = LevelBook(bids(*((9_800 - i, 5) for i in range(20))))
    before = book.view(25).snapshot()
    delta = told(book, bids((9_785, 6)))
    assert delta is not None
    assert (delta.checksum, delta.digest) == (before.checksum, before.digest)
    delta = told(book, bids((9_791, 6)))
    assert delta is not None
    assert (delta.checksum, delta.digest) != (before.checksum, before.digest)


if __name__ == "__main__":
    VECTORS.parent.mkdir(parents=True, exist_ok=True)
    VECTORS.write_text(as_file(vectors()))
