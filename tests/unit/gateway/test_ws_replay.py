"""The steps of books that are kept for readers that come back."""

import random

from gateway.ws.replay import BookSteps
from market.events import LevelChange
from market.ids import Face, LoanId, PriceBp
from market.orderbook.depth import Depth, LevelBook, checksum, digest
from market.orderbook.order import Side

L1, L2 = LoanId("L1"), LoanId("L2")
DEPTH = 10


def walk(
    rng: random.Random, steps: BookSteps, count: int, loan_id: LoanId = L1, book: LevelBook | None = None
) -> tuple[LevelBook, list[Depth]]:
    """Change a book at random, with numbers that are not dense; return it with the states that it had."""
    book = book or LevelBook()
    states = [book.view(DEPTH).snapshot()]
    while len(states) <= count:
        change = LevelChange(rng.choice(list(Side)), PriceBp(rng.randint(9_000, 9_040)), Face(rng.randint(0, 3) * 100))
        book.apply([change])
        book.flush(book.seq + rng.randint(1, 9))
        steps.add(loan_id, book)
        if book.view(DEPTH).seq != states[-1].seq:
            states.append(book.view(DEPTH).snapshot())
    return book, states


def state_at(steps: BookSteps, book: LevelBook, seq: int, loan_id: LoanId = L1) -> Depth | None:
    found = steps.since(loan_id, seq, book)
    return None if found is None else book.as_of(seq, found[1], DEPTH)


def test_every_state_that_is_kept_comes_back_as_it_was() -> None:
    steps = BookSteps(bytes_max=1 << 20)
    book, states = walk(random.Random(1), steps, 60)
    assert [state_at(steps, book, state.seq) for state in states] == states
    assert steps.since(L1, book.seq, book) == (0, {})
    assert steps.since(L2, states[-2].seq, LevelBook()) is None


def test_a_number_that_names_no_state_is_not_known() -> None:
    steps = BookSteps(bytes_max=1 << 20)
    book, states = walk(random.Random(2), steps, 30)
    numbers = {1}
    for _ in range(200):
        book.apply([LevelChange(Side.BUY, PriceBp(9_020), Face(len(numbers)))])
        book.flush(book.seq + 3)
        steps.add(L1, book)
        numbers.add(book.seq)
    for seq in range(states[-1].seq + 1, book.seq + 4):
        assert (steps.since(L1, seq, book) is not None) == (seq in numbers)


def test_a_book_keeps_its_last_steps() -> None:
    steps = BookSteps(bytes_max=1 << 20, steps_max=20)
    book, _ = walk(random.Random(3), steps, 40)
    changes = [book.seq]
    for n in range(30):
        book.apply([LevelChange(Side.BUY, PriceBp(9_020), Face(1_000 + n))])
        book.flush()
        steps.add(L1, book)
        changes.append(book.seq)
    found = steps.since(L1, changes[-21], book)
    assert found is not None
    assert found[0] == 20
    assert steps.since(L1, changes[-22], book) is None


def test_all_together_have_a_budget_and_the_quiet_book_pays() -> None:
    steps = BookSteps(bytes_max=8_000)
    quiet, was = walk(random.Random(4), steps, 40, L2)
    lively, states = walk(random.Random(5), steps, 200)
    assert 0 < steps.bytes_held <= 8_000
    assert state_at(steps, quiet, was[-2].seq, L2) is None
    kept = next(n for n in range(200) if state_at(steps, lively, states[n].seq) is not None)
    assert [state_at(steps, lively, state.seq) for state in states[kept:]] == states[kept:]
    assert 200 - kept > 30
    steps.clear()
    assert (steps.bytes_held, state_at(steps, lively, states[-2].seq)) == (0, None)


def test_what_was_missed_in_between_forgets_what_was_before_it() -> None:
    steps = BookSteps(bytes_max=1 << 20)
    book, states = walk(random.Random(6), steps, 10)
    book.apply([LevelChange(Side.BUY, PriceBp(9_001), Face(777))])
    book.flush()  # not kept
    assert state_at(steps, book, states[5].seq) is None
    book, fresh = walk(random.Random(7), steps, 3, book=book)
    assert state_at(steps, book, states[5].seq) is None
    assert [state_at(steps, book, state.seq) for state in fresh] == fresh


def test_a_reader_may_have_missed_ten_thousand_changes() -> None:
    steps = BookSteps(bytes_max=1 << 24)
    book = LevelBook()
    changes = []
    for n in range(10_001):
        book.apply([LevelChange(Side.BUY, PriceBp(9_000 + n % 7), Face(1 + n))])
        book.flush()
        steps.add(L1, book)
        changes.append(book.seq)
    found = steps.since(L1, changes[0], book)
    assert found is not None
    assert found[0] == 10_000
    only = [(PriceBp(9_000), Face(1))]
    then = Depth(changes[0], only, [], checksum(only, []), digest(only, []))
    assert state_at(steps, book, changes[0]) == then
