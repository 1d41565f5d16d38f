"""Delays grow, stay below their bound, and are spread by chance."""

import pytest

from gateway.client import Backoff


def test_delays_double_up_to_a_bound() -> None:
    backoff = Backoff(first_s=0.1, most_s=1.0, jitter=lambda: 1.0)
    assert [backoff.delay_s(attempt) for attempt in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff.delay_s(100_000) == 1.0


@pytest.mark.parametrize(("drawn", "delay_s"), [(0.0, 0.0), (0.25, 0.1), (0.5, 0.2)])
def test_chance_takes_its_part_of_a_delay(drawn: float, delay_s: float) -> None:
    assert Backoff(first_s=0.1, jitter=lambda: drawn).delay_s(2) == pytest.approx(delay_s)
