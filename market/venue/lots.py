"""Lots: of what acquisitions the face of one claim is made. Holding days and transfers are judged by them.

A claim's lots stand by (acquired, transfers), each pair once, so that they do not depend on the order in which the
purchases of a day came. Invariants: every face > 0; Σ face == the claim's total; open sells hold no more than is
eligible.
"""

from bisect import bisect_left
from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from typing import NamedTuple

from market.errors import InvariantViolation
from market.ids import Face
from market.venue.rulebook import Rulebook


class Lot(NamedTuple):
    """acquired: business date of the trade, or of the issue.  transfers: how often it was assigned; 0: as issued."""

    acquired: date
    transfers: int
    face: Face


def add(lots: list[Lot], acquired: date, transfers: int, face: Face) -> None:
    i = bisect_left(lots, (acquired, transfers))
    if i < len(lots) and lots[i].acquired == acquired and lots[i].transfers == transfers:
        lots[i] = Lot(acquired, transfers, Face(lots[i].face + face))
    else:
        lots.insert(i, Lot(acquired, transfers, face))


def take(lots: list[Lot], quantity: Face, rules: Rulebook, today: date) -> list[Lot]:
    """Remove `quantity` from the eligible lots, oldest first, and return what was taken."""
    taken: list[Lot] = []
    left, i = int(quantity), 0
    while left:
        if i == len(lots):
            raise InvariantViolation(f"{quantity} were sold, {left} more than is eligible")
        lot = lots[i]
        if not is_eligible(lot, rules, today):
            i += 1
        elif lot.face > left:
            lots[i] = Lot(lot.acquired, lot.transfers, Face(lot.face - left))
            taken.append(Lot(lot.acquired, lot.transfers, Face(left)))
            left = 0
        else:
            taken.append(lots.pop(i))
            left -= lot.face
    return taken


def is_eligible(lot: Lot, rules: Rulebook, today: date) -> bool:
    return not is_too_young(lot, rules, today) and not is_worn_out(lot, rules)


def is_too_young(lot: Lot, rules: Rulebook, today: date) -> bool:
    """Whether whoever bought it must still keep it. Who lent the money himself has nothing to wait for."""
    if not rules.min_holding_days or not lot.transfers:
        return False
    return (today - lot.acquired).days < rules.min_holding_days


def is_worn_out(lot: Lot, rules: Rulebook) -> bool:
    return rules.max_transfers is not None and lot.transfers >= rules.max_transfers


def eligible_face(lots: Iterable[Lot], rules: Rulebook, today: date) -> int:
    return sum(lot.face for lot in lots if is_eligible(lot, rules, today))


def are_in_order(lots: list[Lot]) -> bool:
    return all(a[:2] < b[:2] for a, b in pairwise(lots))
