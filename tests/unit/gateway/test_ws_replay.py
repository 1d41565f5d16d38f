"""The steps of books that are kept for readers that come back."""

import random

from gateway.ws.replay import BookSteps, Step
from market.events import LevelChange
from market.ids import Face, LoanId, Nanos, PriceBp
from market.orderbook.depth import LevelBook
from market.orderbook.order import Side

L1, L2 = LoanId("L1"), LoanId("L2")


def walk(rng: random.Random, steps: BookSteps, count: int, loan_id: LoanId = L1) -> list[Step]:
    """Change a book at random; return what its depth-10 view told."""
    book, told = LevelBook(), list[Step]()
    book.view(10)
    while len(told) < count:
        change = LevelChange(rng.choice(list(Side)), PriceBp(rng.randint(9_000, 9_040)), Face(rng.randint(0, 3) * 100))
        book.apply([change])
        for delta in book.flush():
            told.append((delta, Nanos(1_700_000_000_000_000_000 + len(told))))
            steps.add(loan_id, *told[-1])
    return told


def test_steps_come_back_as_they_were() -> None:
    steps = BookSteps(bytes_max=1 << 20)
    told = walk(random.Random(1), steps, 60)
    last = told[-1][0].seq
    assert steps.after(L1, 10, told[0][0].prev_seq, limit=100) == told
    assert steps.after(L1, 10, told[20][0].seq, limit=5) == told[21:26]
    assert steps.after(L1, 10, last, limit=5) == []
    assert steps.after(L1, 10, last + 1, limit=5) is None
    assert steps.after(L1, 25, last, limit=5) is None
    assert steps.after(L2, 10, last, limit=5) is None


def test_a_view_keeps_its_last_steps() -> None:
    steps = BookSteps(bytes_max=1 << 20, steps_max=20)
    told = walk(random.Random(2), steps, 50)
    assert steps.after(L1, 10, told[29][0].seq, limit=100) == told[30:]
    assert steps.after(L1, 10, told[28][0].seq, limit=100) is None


def test_all_together_have_a_budget_and_the_quiet_view_pays() -> None:
    steps = BookSteps(bytes_max=8_000)
    quiet = walk(random.Random(3), steps, 40, L2)
    lively = walk(random.Random(4), steps, 200)
    assert 0 < steps.bytes_held <= 8_000
    assert steps.after(L2, 10, quiet[-2][0].seq, limit=5) is None
    kept = next(n for n in range(200) if steps.after(L1, 10, lively[n][0].seq, limit=500) is not None)
    assert steps.after(L1, 10, lively[kept][0].seq, limit=500) == lively[kept + 1 :]
    assert 200 - kept > 30
    steps.clear()
    assert (steps.bytes_held, steps.after(L1, 10, lively[-1][0].seq, limit=5)) == (0, None)


def test_a_gap_forgets_what_was_before_it() -> None:
    steps = BookSteps(bytes_max=1 << 20)
    told = walk(random.Random(5), steps, 10)
    fresh = walk(random.Random(6), steps, 3)
    assert fresh[0][0].prev_seq == 1
    assert steps.after(L1, 10, told[5][0].seq, limit=5) is None
    assert steps.after(L1, 10, 1, limit=5) == fresh
