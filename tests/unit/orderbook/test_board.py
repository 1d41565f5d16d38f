"""The board against a plain model: filter everything, sort everything, cut."""

import random

import pytest

from market.ids import LoanId
from market.orderbook import board as board_module
from market.orderbook.board import Board, Entry, Facet, Figure, Key, Wanted

GRADES = ("A", "B", "C", "")
NO_MORE = (None,) * (len(Figure) - Figure.BID)  # figures


def random_entry(rng: random.Random, loan_id: str) -> Entry:
    figures = [None if rng.random() < 0.2 else rng.randint(-5, 20) for _ in Figure]
    words = ["current", "USD", "ORIG", rng.choice(GRADES), "unsecured", "none", rng.choice(["true", "false"])]
    return Entry(
        LoanId(loan_id), tuple(figures), tuple(words), f"{loan_id}\n{rng.choice(['a van', 'a boat'])}".casefold()
    )


def random_wish(rng: random.Random) -> Wanted:
    words: list[tuple[Facet, frozenset[str]]] = []
    if rng.random() < 0.5:
        words.append((Facet.GRADE, frozenset(rng.sample(GRADES, rng.randint(1, 3)))))
    if rng.random() < 0.3:
        words.append((Facet.NEVER_LATE, frozenset({"true"})))
    bounds = [
        (figure, rng.choice([None, rng.randint(-6, 10)]), rng.choice([None, rng.randint(0, 21)]))
        for figure in rng.sample(list(Figure), rng.randint(0, 2))
    ]
    return Wanted(
        loans=None if rng.random() < 0.7 else frozenset(LoanId(f"L{n:02d}") for n in rng.sample(range(90), 20)),
        words=tuple(words),
        bounds=tuple(bounds),
        text=rng.choice(["", "", "van", "no such thing"]),
        sort=rng.choice([None, *Figure]),
        descending=rng.random() < 0.5,
    )


def all_pages(board: Board, wanted: Wanted, *, limit: int, steps: int) -> list[str]:
    """Follow the keys to the end; a page that finds nothing must get on all the same."""
    found: list[str] = []
    after: Key | None = None
    for _ in range(10_000):
        keys, after = board.search(wanted, after=after, limit=limit, steps=steps)
        assert len(keys) <= limit
        found += [key[2] for key in keys]
        if after is None:
            return found
    raise AssertionError("the search does not end")


@pytest.mark.parametrize("narrow_max", [0, 10, 1_000])
@pytest.mark.parametrize("seed", range(4))
def test_every_page_is_what_a_plain_search_finds(seed: int, narrow_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By index and by walking, while entries change between the searches."""
    monkeypatch.setattr(board_module, "NARROW_MAX", narrow_max)
    rng, board, model = random.Random(seed), Board(), dict[str, Entry]()
    for _ in range(60):
        for _ in range(rng.randint(1, 12)):
            entry = random_entry(rng, f"L{rng.randint(1, 80):02d}")
            board.put(entry)
            model[entry.loan_id] = entry
        wanted = random_wish(rng)
        accepted = [entry for entry in model.values() if wanted.accepts(entry)]
        expected = [entry.loan_id for entry in sorted(accepted, key=wanted.key)]
        assert all_pages(board, wanted, limit=rng.randint(1, 9), steps=rng.randint(1, 30)) == expected, (seed, wanted)


def test_the_same_figure_is_in_the_order_of_loans_both_ways() -> None:
    board = Board()
    for loan_id, price in (("B", 9_900), ("A", 9_900), ("C", 9_800), ("D", None)):
        figures = (None, price, None, 12, 0, None, *NO_MORE)
        board.put(Entry(LoanId(loan_id), figures, ("current", "USD", "O", "", "unsecured", "none", "true"), ""))
    up, down = (Wanted(sort=Figure.PRICE, descending=descending) for descending in (False, True))
    assert all_pages(board, up, limit=2, steps=2) == ["C", "A", "B", "D"]
    assert all_pages(board, down, limit=1, steps=1) == ["A", "B", "C", "D"]


def test_an_impossible_bound_finds_nothing() -> None:
    board = Board()
    board.put(random_entry(random.Random(1), "L1"))
    wanted = Wanted(bounds=((Figure.RATE, 10, 5),), sort=Figure.RATE)
    assert board.search(wanted, limit=5, steps=5) == ([], None)
