"""Adding up cells: windows, average prices, and how long face waited."""

import itertools

import pytest

from gateway.reads.statistics import (
    DISCOUNTS_BP,
    PAR,
    WAITS_S,
    By,
    Tallies,
    Tally,
    discount_step,
    figures_of,
    grouped,
    sold_of,
)
from market.ids import Nanos, PriceBp


def tally(*trades: tuple[int, int, int | None]) -> Tally:
    """Trades of the last day as (face, price, seconds waited, at the beginning of a step), numbered from 1."""
    found = Tally()
    for number, (face, price, wait) in enumerate(trades, start=1):
        step = None if wait is None else WAITS_S.index(wait)
        found.add((1, face, face * price) * 3, step, (number, PriceBp(price), Nanos(7)))
    return found


def test_nothing_traded_has_no_figures() -> None:
    figures = figures_of("USD", "B", None, Tally())
    assert [(each.days, each.trades, each.face, each.vwap) for each in figures.traded] == [
        (1, 0, 0, None),
        (7, 0, 0, None),
        (30, 0, 0, None),
    ]
    assert (figures.sold.fills, figures.sold.face, figures.sold.p50_s, figures.sold.p90_s) == (0, 0, None, None)
    assert figures.last is None


@pytest.mark.parametrize(
    ("prices", "vwap"),
    [
        pytest.param([(100, 9_800)], 9_800, id="one price"),
        pytest.param([(100, 9_800), (300, 9_900)], 9_875, id="weighted by face"),
        pytest.param([(100, 9_800), (100, 9_801)], 9_801, id="half a basis point rounds up"),
    ],
)
def test_the_average_price_is_weighted_by_face_and_rounded_half_up(prices: list[tuple[int, int]], vwap: int) -> None:
    figures = figures_of("USD", None, None, tally(*((face, price, None) for face, price in prices)))
    assert figures.traded[0].vwap == vwap


@pytest.mark.parametrize(
    ("waits", "p50_s", "p90_s"),
    [
        pytest.param([(100, 5)], 5, 5, id="one sale"),
        pytest.param([(50, 5), (50, 60)], 5, 60, id="half of the face is enough for the median"),
        pytest.param([(49, 5), (51, 60)], 60, 60, id="less than half is not"),
        pytest.param([(90, 1), (10, 3_600)], 1, 1, id="nine tenths of the face are enough"),
        pytest.param([(1, 86_400 * 3)] + [(1, 0)] * 8, 0, 86_400 * 3, id="eight ninths are not"),
    ],
)
def test_waiting_is_weighted_by_face(waits: list[tuple[int, int]], p50_s: int, p90_s: int) -> None:
    sold = sold_of(tally(*((face, 9_800, wait) for face, wait in waits)))
    assert (sold.p50_s, sold.p90_s) == (p50_s, p90_s)
    assert (sold.fills, sold.face) == (len(waits), sum(face for face, _ in waits))


def test_what_nobody_waited_for_is_traded_but_not_sold_after_waiting() -> None:
    figures = figures_of("USD", None, None, tally((100, 9_800, None), (10, 9_800, 30)))
    assert figures.traded[2].face == 110
    assert (figures.sold.fills, figures.sold.face, figures.sold.p50_s) == (1, 10, 30)


def test_rows_are_by_what_was_asked_for_and_in_order() -> None:
    tallies: Tallies = {}
    for grade, price, face in (("C", 9_750, 1), ("B", 10_050, 2), ("B", 10_000, 4), ("C", 7_000, 8)):
        step = sum(PAR - price >= begin for begin in DISCOUNTS_BP)
        tallies["USD", grade, step] = tally((face, price, None))
    by_grade = grouped(tallies, frozenset({By.GRADE}))
    assert [(row.grade, row.discount, row.traded[0].face) for row in by_grade] == [("B", None, 6), ("C", None, 9)]
    assert [row.last for row in by_grade] == [(10_050, 7), (9_750, 7)]
    by_discount = grouped(tallies, frozenset({By.DISCOUNT}))
    assert [(row.grade, discount_step(row.discount or 0)) for row in by_discount] == [
        (None, (None, 0)),
        (None, (0, 100)),
        (None, (200, 300)),
        (None, (2_000, None)),
    ]
    assert len(grouped(tallies, frozenset(By))) == 4


def test_steps_of_waiting_grow_and_round_by_less_than_a_sixth() -> None:
    assert list(WAITS_S) == sorted(set(WAITS_S))
    assert WAITS_S[0] == 0
    for begin, end in itertools.pairwise(WAITS_S[60:]):
        assert 6 * (end - begin) <= begin


def test_what_left_a_window_is_as_if_it_had_never_come() -> None:
    both, one = tally((100, 9_800, 30), (10, 9_700, 60)), tally((10, 9_700, 60))
    both.add((-1, -100, -100 * 9_800) * 3, WAITS_S.index(30))
    assert figures_of("USD", None, None, both).traded == figures_of("USD", None, None, one).traded
    assert sold_of(both) == sold_of(one)
    assert both.waits == one.waits
