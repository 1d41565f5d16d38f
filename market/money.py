"""Every rounding that the market does, by name. Integers in, integers out; no float meets an amount."""

from collections.abc import Sequence


def div_half_up(numerator: int, denominator: int) -> int:
    """Return numerator / denominator rounded half up (half away from zero for amounts, which are never negative).

    numerator >= 0, denominator > 0.
    """
    return (2 * numerator + denominator) // (2 * denominator)


def div_up(numerator: int, denominator: int) -> int:
    """Return numerator / denominator rounded towards plus infinity; denominator > 0."""
    return -(-numerator // denominator)


def decimal_text(units: int) -> str:
    """Return an amount, face, price or percent, counted in hundredths, in plain notation: 98_750 is "987.50"."""
    sign = "-" if units < 0 else ""
    return f"{sign}{abs(units) // 100}.{abs(units) % 100:02}"


def split_by_largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` >= 0 in proportion to `weights` so that the parts add up to it exactly.

    Each part is the floor of its exact share; what is left over goes, one unit each, to the largest remainders;
    ties go to the larger weight, then to the earlier position (callers pass holders in order of account id).
    Raises ValueError if no weight is positive or one is negative.
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        raise ValueError("weights must be >= 0 and their sum positive")
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), -weights[i], i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts
