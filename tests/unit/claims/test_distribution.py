import random

import pytest

from market.claims.distribution import distribute
from market.ids import AccountId, Face, Minor

ALICE, BOB, CAROL = AccountId("A"), AccountId("B"), AccountId("C")


@pytest.mark.parametrize(
    ("amount", "holdings", "unissued", "expected"),
    [
        pytest.param(100, {ALICE: 1, BOB: 1}, 0, {ALICE: 50, BOB: 50}, id="even"),
        pytest.param(100, {CAROL: 1, BOB: 1, ALICE: 1}, 0, {ALICE: 34, BOB: 33, CAROL: 33}, id="tie: smaller id"),
        pytest.param(1, {ALICE: 1, BOB: 2, CAROL: 2}, 0, {ALICE: 0, BOB: 1, CAROL: 0}, id="tie: larger holding first"),
        pytest.param(3, {ALICE: 1}, 1, {ALICE: 2}, id="the unissued face comes last in a tie"),
        pytest.param(999, {ALICE: 1}, 2, {ALICE: 333}, id="the unissued face has its part"),
        pytest.param(0, {ALICE: 1}, 0, {ALICE: 0}, id="nothing"),
        pytest.param(5, {}, 7, {}, id="nothing issued"),
    ],
)
def test_parts(amount: int, holdings: dict[AccountId, int], unissued: int, expected: dict[AccountId, int]) -> None:
    faces = {account_id: Face(face) for account_id, face in holdings.items()}
    assert distribute(Minor(amount), faces, unissued=Face(unissued)) == expected


@pytest.mark.parametrize("seed", range(20))
def test_parts_of_a_fully_issued_loan_add_up_and_are_within_a_unit(seed: int) -> None:
    rng = random.Random(seed)
    holdings = {AccountId(f"H{i}"): Face(rng.randint(1, 10 ** rng.randint(1, 9))) for i in range(rng.randint(1, 60))}
    amount, whole = rng.randint(0, 10**7), sum(holdings.values())
    parts = distribute(Minor(amount), holdings, unissued=Face(0))
    assert sum(parts.values()) == amount
    for holder, part in parts.items():
        assert abs(part * whole - amount * holdings[holder]) < whole
