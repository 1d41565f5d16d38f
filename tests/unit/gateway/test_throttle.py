"""Tries come back one by one, for each key by itself, and memory is bounded."""

import pytest

from gateway.access import throttle
from gateway.access.throttle import Throttle
from gateway.errors import RateLimited

SECOND = 10**9


class FakeClock:
    def __init__(self) -> None:
        self.now = 10**18

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tries(clock: FakeClock) -> Throttle:
    return Throttle("tries", burst=3, every_s=2.0, clock=clock)


def test_so_many_at_once_and_then_one_by_one(tries: Throttle, clock: FakeClock) -> None:
    for _ in range(3):
        tries.take("a")
    for wait_ms in (2_000, 2_000):
        with pytest.raises(RateLimited) as refusal:
            tries.take("a")
        assert refusal.value.details == {"prefix": "EAPI", "retry_after_ms": wait_ms}
    tries.take("b")
    clock.now += 2 * SECOND - 1
    with pytest.raises(RateLimited):
        tries.take("a")
    clock.now += 1
    tries.take("a")
    with pytest.raises(RateLimited):
        tries.take("a")


def test_a_good_try_is_given_back(tries: Throttle) -> None:
    for _ in range(10):
        tries.take("a")
        tries.give_back("a")
    tries.give_back("stranger")
    for _ in range(3):
        tries.take("a")
    with pytest.raises(RateLimited):
        tries.take("a")


def test_what_is_full_again_is_forgotten(tries: Throttle, clock: FakeClock) -> None:
    for n in range(100):
        tries.take(f"key{n}")
    clock.now += 2 * SECOND
    tries.take("late")
    assert list(tries._full_at) == ["late"]


def test_no_more_than_so_many_keys_are_remembered(tries: Throttle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "KEYS_MAX", 10)
    for n in range(100):
        tries.take(f"key{n}")
    assert list(tries._full_at) == [f"key{n}" for n in range(90, 100)]
