"""Token buckets: integers, refilled continuously, one per account and class."""

import pytest

from gateway.access.rates import Bucket, RateLimits, Rates
from gateway.errors import RateLimited
from market.ids import AccountId

A, B = AccountId("A"), AccountId("B")
MS = 1_000_000


class FakeClock:
    def __init__(self) -> None:
        self.now = 10**18

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rates(clock: FakeClock) -> Rates:
    return Rates(RateLimits(orders_per_s=10, burst_s=2), clock=clock)


def drain(rates: Rates, bucket: Bucket = Bucket.ORDERS) -> None:
    rates.take(A, bucket, rates.rate(A, bucket).remaining)


def test_a_full_bucket_is_taken_one_by_one_and_refills(rates: Rates, clock: FakeClock) -> None:
    for left in range(19, -1, -1):
        rates.take(A, Bucket.ORDERS)
        assert rates.rate(A, Bucket.ORDERS).remaining == left
    with pytest.raises(RateLimited) as refusal:
        rates.take(A, Bucket.ORDERS)
    assert refusal.value.details == {"prefix": "EOrder", "retry_after_ms": 100}
    clock.now += 99 * MS
    with pytest.raises(RateLimited):
        rates.take(A, Bucket.ORDERS)
    clock.now += 1 * MS
    rates.take(A, Bucket.ORDERS)
    assert rates.rate(A, Bucket.ORDERS).reset_ms == 2_000


def test_buckets_are_apart(rates: Rates) -> None:
    drain(rates)
    rates.take(B, Bucket.ORDERS)
    rates.take(A, Bucket.CANCELS)
    assert rates.rate(A, Bucket.CANCELS).capacity == 10 * rates.rate(A, Bucket.ORDERS).capacity


def test_what_costs_nothing_is_never_refused(rates: Rates) -> None:
    drain(rates, Bucket.CANCELS)
    rates.take(A, Bucket.CANCELS, 0)


def test_a_batch_larger_than_the_bucket_waits_for_it_to_be_full(rates: Rates, clock: FakeClock) -> None:
    rates.take(A, Bucket.ORDERS)
    with pytest.raises(RateLimited) as refusal:
        rates.take(A, Bucket.ORDERS, 50)
    assert refusal.value.details["retry_after_ms"] == 100
    clock.now += 100 * MS
    rates.take(A, Bucket.ORDERS, 50)
    assert (rates.rate(A, Bucket.ORDERS).remaining, rates.rate(A, Bucket.ORDERS).reset_ms) == (0, 5_000)
