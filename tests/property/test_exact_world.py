"""Not a cent of difference between the venue and a market in exact fractions; tests/soak.py runs a million events."""

from collections import Counter

from market.claims.servicing import ServicingType
from tests.property.exact_world import run

WORLDS = 5


def test_every_cent_is_where_exact_fractions_put_it() -> None:
    seen: Counter[str] = Counter()
    for seed in range(WORLDS):
        seen += run(seed)
    rare = {"trades", "pegs moved", "factor above 1", "refused"}
    assert {kind for kind in [*ServicingType, *rare] if seen[kind] < 2} == set(), seen
