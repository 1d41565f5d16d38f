"""The book equals the reference book after each of many random operations. The long run: book_vs_reference.py."""

import os

import pytest

from tests.property.book_vs_reference import BookUnderTest, compare

OPERATIONS = int(os.environ.get("DEBT_MARKET_BOOK_OPERATIONS", "60000"))
SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_book_does_what_the_reference_does(seed: int) -> None:
    seen = compare(seed, OPERATIONS // len(SEEDS), BookUnderTest())
    for what in (
        "fill",
        "stp_cancel_maker",
        "stp_decrement",
        "cancel_maker",
        "iceberg met again",
        "refused",
        "stopped by stp",
        "stopped by check",
        "Amend",
        "Cancel",
        "Recover",
    ):
        assert seen[what] > 0, f"seed {seed} never showed: {what}"
