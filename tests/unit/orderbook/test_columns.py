"""The board by columns against a plain model: look at every entry."""

import random
from collections import Counter

import pytest

from market.ids import LoanId
from market.orderbook.board import Entry, Facet, Figure, Wanted
from market.orderbook.columns import ROOM_AT_FIRST, Columns
from tests.unit.orderbook.test_board import NO_MORE, random_entry, random_wish


def filled(rng: random.Random, count: int) -> tuple[Columns, dict[LoanId, Entry]]:
    columns, model = Columns(), dict[LoanId, Entry]()
    for _ in range(count):
        entry = random_entry(rng, f"L{rng.randint(1, count):02d}")
        columns.put(entry)
        model[entry.loan_id] = entry
    return columns, model


@pytest.mark.parametrize("seed", range(40))
def test_count_order_and_words_are_what_a_look_at_everything_finds(seed: int) -> None:
    rng = random.Random(seed)
    columns, model = filled(rng, 90)
    wanted = random_wish(rng)
    accepted = sorted((entry for entry in model.values() if wanted.accepts(entry)), key=wanted.key)
    assert len(columns) == len(model)
    assert columns.count(wanted) == len(accepted)
    assert columns.cut(wanted).loans() == [entry.loan_id for entry in accepted], wanted
    for facet, counts in columns.words(wanted).items():
        others = Wanted(
            loans=wanted.loans,
            words=tuple((each, words) for each, words in wanted.words if each is not facet),
            bounds=wanted.bounds,
            text=wanted.text,
        )
        assert counts == Counter(entry.words[facet] for entry in model.values() if others.accepts(entry))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("most", [1, 20, 1_000])
def test_every_loan_with_a_yield_is_in_one_group_of_its_months_and_grade(seed: int, most: int) -> None:
    rng = random.Random(seed)
    columns, model = filled(rng, 60)
    points = columns.spread(Wanted()).points(most=most, step_ppm=1)
    axes = (Figure.YTM, Figure.REMAINING_MONTHS)
    shown = [entry for entry in model.values() if None not in [entry.figures[axis] for axis in axes]]
    assert sum(points.count) == len(shown)
    assert sum(points.never_late) == sum(entry.words[Facet.NEVER_LATE] == "true" for entry in shown)
    for months, ytm, grade, count, loan in zip(
        points.months, points.ytm_ppm, points.grade, points.count, points.loan, strict=True
    ):
        assert (loan is not None) == (count == 1)
        if loan is not None:
            entry = model[loan]
            assert (*[entry.figures[axis] for axis in axes], entry.words[Facet.GRADE]) == (ytm, months, grade)


def test_groups_are_at_most_as_many_as_asked_for_where_yields_can_be_put_together() -> None:
    columns = Columns()
    for n in range(1_000):
        figures = (n * 1_000, 9_000, 1_000, 12, 0, 1, *NO_MORE)
        columns.put(Entry(LoanId(f"L{n}"), figures, ("current", "USD", "O", "A", "unsecured", "none", "true"), ""))
    points = columns.spread(Wanted()).points(most=100, step_ppm=1_000)
    assert len(points.count) == 63  # steps of 16,000
    assert points.count[0] == 16
    assert points.ytm_ppm[0] == 7_500
    assert columns.spread(Wanted(text="no such")).points(most=100, step_ppm=1_000).count == []


def test_a_cut_stays_as_it_was_and_room_grows() -> None:
    columns, count = Columns(), 3 * ROOM_AT_FIRST
    for n in range(count):
        words = ("current", "USD", "O", "A", "unsecured", "none", "true")
        columns.put(Entry(LoanId(f"L{n:05d}"), (n, None, None, 1, 0, None, *NO_MORE), words, ""))
    cut = columns.cut(Wanted(sort=Figure.YTM, descending=True))
    columns.put(Entry(LoanId("L00000"), (count, None, None, 1, 0, None, *NO_MORE), words, ""))
    assert cut.loans()[0] == f"L{count - 1:05d}"
    assert columns.cut(Wanted(sort=Figure.YTM, descending=True)).loans()[0] == "L00000"
    assert columns.count(Wanted(bounds=((Figure.YTM, count - 1, None),))) == 2
