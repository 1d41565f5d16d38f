"""Who gets what of a payment: every holder of record in proportion to his face, to the last minor unit."""

from collections.abc import Mapping

from market.errors import InvariantViolation
from market.ids import AccountId, Face, Minor
from market.money import split_by_largest_remainder


def distribute(amount: Minor, holdings: Mapping[AccountId, Face], *, unissued: Face) -> dict[AccountId, Minor]:
    """Split `amount` over holders and the unissued face, and return the holders' parts in order of account id.

    The unissued face is the originator's own business: it takes part as one more holder (behind all others in a tie),
    so that the parts are the same however much of the loan is issued here; its part is left out.
    Rounding: largest remainder; ties go to the larger holding, then to the smaller account id.
    """
    holders = sorted(holdings)
    parts = split_by_largest_remainder(amount, [*(holdings[holder] for holder in holders), unissued])
    if sum(parts) != amount:
        raise InvariantViolation(f"the parts of {amount} make {sum(parts)}")
    return {holder: Minor(part) for holder, part in zip(holders, parts, strict=False)}
