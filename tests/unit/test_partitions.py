"""Numbers tell their partition, and loans spread evenly over the partitions, the same in every process."""

from collections import Counter

import pytest

from market.ids import FIRST_QUOTE_ID, LoanId
from market.partitions import PARTITIONS_MAX, STRIDE, home_of, partition_of, schema_of, seq_before

LARGEST_BIGINT = (1 << 63) - 1


@pytest.mark.parametrize("partition", [0, 1, 2, PARTITIONS_MAX - 1])
def test_every_number_tells_its_partition(partition: int) -> None:
    first, last = seq_before(partition) + 1, seq_before(partition) + STRIDE - 1
    for seq in (first, last):
        assert partition_of(seq) == partition
        assert partition_of(FIRST_QUOTE_ID + (seq << 20)) == partition
        assert partition_of(FIRST_QUOTE_ID + (seq << 20) + (1 << 20) - 1) == partition


def test_the_last_partitions_numbers_fit_their_columns_and_a_javascript_number() -> None:
    last = seq_before(PARTITIONS_MAX - 1) + STRIDE - 1
    assert FIRST_QUOTE_ID + (last << 20) + (1 << 20) - 1 <= LARGEST_BIGINT
    assert last < 1 << 53


def test_one_partition_is_home_to_all_and_several_share_evenly() -> None:
    loans = [LoanId(f"LN-{n}") for n in range(3_000)]
    assert {home_of(loan_id, 1) for loan_id in loans} == {0}
    shares = Counter(home_of(loan_id, 3) for loan_id in loans)
    assert set(shares) == {0, 1, 2}
    assert max(shares.values()) < 1.1 * min(shares.values())


def test_a_home_is_the_same_in_every_process() -> None:
    assert [home_of(LoanId(loan_id), 4) for loan_id in ("L1", "L2", "L3", "L4", "LN-2024-000001")] == [3, 1, 3, 0, 1]


def test_the_first_partitions_ledger_is_the_one_without_partitions() -> None:
    assert [schema_of(partition) for partition in (0, 1, 12)] == ["market", "market_1", "market_12"]
    assert seq_before(0) == 0
