"""The chain of title of a loan as its readers see it: links that prove by their hashes who held how much, since when.

Everything here works on the texts that `GET /v1/loans/{id}/assignments` shows, so that a holder who kept them can
verify them anywhere, without the market. The chain is written by the database (migrations/0009_title.sql); the rule for
a hash is in docs/register.md, and is written here a second time on purpose.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

FIRST = "0" * 64  # what the first link of a loan is chained to


class BrokenTitle(Exception):
    """Links that no market could have written: one was changed or left out, or moves what its assignor did not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One assignment. Parties are pseudonyms within the loan; assignor: None where face was issued."""

    loan_id: str
    n: int
    kind: str
    trade_id: str | None
    assignor: str | None
    assignee: str
    face: str
    effective_between_parties_at: str
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Title:
    """What a whole chain says. holders: face in minor units by party, without those that gave all of it away."""

    loan_id: str
    links: int
    head: str
    issued: int
    holders: dict[str, int]


def link_hash(link: Link) -> str:
    """Return the SHA-256, in hex, of the link's texts joined by line feeds, the hash before it first."""
    texts = (
        link.previous_hash,
        link.loan_id,
        str(link.n),
        link.kind,
        link.trade_id or "",
        link.assignor or "",
        link.assignee,
        link.face,
        link.effective_between_parties_at,
    )
    return sha256("\n".join(texts).encode()).hexdigest()


def party(opening: str, account_id: str) -> str:
    """Return the pseudonym that an opening and an account's id make: together they prove who a party is."""
    return sha256(f"{opening}\n{account_id}".encode()).hexdigest()


def verify_title(links: Iterable[Link]) -> Title:
    """Follow a loan's chain from its first link on. Raises BrokenTitle naming the first link that is wrong."""
    loan_id, head, count, issued = "", FIRST, 0, 0
    holders: dict[str, int] = defaultdict(int)
    for count, link in enumerate(links, start=1):
        where = f"link {link.n} of {link.loan_id}"
        loan_id = loan_id or link.loan_id
        if (link.loan_id, link.n, link.previous_hash) != (loan_id, count, head):
            raise BrokenTitle(f"{where} does not follow link {count - 1} of {loan_id}")
        if link_hash(link) != link.hash:
            raise BrokenTitle(f"{where} does not have the hash of what it says")
        face = _minor(link.face, where)
        if link.assignor is None:
            issued += face
        else:
            holders[link.assignor] -= face
            if holders[link.assignor] < 0:
                raise BrokenTitle(f"{where} assigns more than its assignor held")
        holders[link.assignee] += face
        head = link.hash
    return Title(loan_id, count, head, issued, {name: face for name, face in sorted(holders.items()) if face})


def _minor(text: str, where: str) -> int:
    whole, point, cents = text.partition(".")
    if not (whole.isdecimal() and point and cents.isdecimal() and len(cents) == 2):
        raise BrokenTitle(f"{where}: {text!r} is not a face")
    return int(whole) * 100 + int(cents)
