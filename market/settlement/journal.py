"""Double entry: signed legs that sum to zero per asset, or no entry at all.

Two ledger accounts stand outside the market, with negative totals: CUSTODY mirrors the cash that the custodian holds
for all accounts, ISSUE the face that was issued. So Σ cash of a currency == −CUSTODY, Σ positions of a loan == −ISSUE.
A third one, TRANSIT, mirrors what this ledger sent to those of other partitions and received from them.
"""

from collections import defaultdict
from enum import StrEnum

import msgspec

from market.errors import InvariantViolation
from market.ids import AccountId

CUSTODY = AccountId("CUSTODY")
ISSUE = AccountId("ISSUE")
TRANSIT = AccountId("/TRANSIT")  # no account can be called so
HOUSE = AccountId("HOUSE")  # receives fees, can never buy


class Unit(StrEnum):
    CASH = "cash"  # asset is a currency, amount in minor units
    FACE = "face"  # asset is a loan id, amount in original face


class Leg(StrEnum):
    PRINCIPAL = "principal"
    ACCRUED = "accrued"
    FEE = "fee"
    CLAIM = "claim"  # the face that moves against the cash
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    ISSUANCE = "issuance"
    INTEREST = "interest"
    REPAYMENT = "repayment"
    BUYBACK = "buyback"  # principal paid by whoever bought the claims back
    TRANSIT = "transit"  # between the ledgers of two partitions
    RECOVERY = "recovery"  # principal recovered from a loan in default or written off


class EntryKind(StrEnum):
    TRADE = "trade"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    ISSUANCE = "issuance"
    SERVICING = "servicing"
    CASH_MOVE = "cash_move"


class Posting(msgspec.Struct, frozen=True, gc=False):
    account_id: AccountId
    unit: Unit
    asset: str
    leg: Leg
    amount: int  # signed, from the account's view, never zero


class JournalEntry(msgspec.Struct, frozen=True, gc=False):
    """entry_id: unique and growing.  reference: trade id, custody reference, loan id or event id, after `kind`."""

    entry_id: int
    kind: EntryKind
    reference: str
    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        sums: dict[str, int] = defaultdict(int)
        for posting in self.postings:
            sums[posting.asset] += posting.amount
        if any(sums.values()) or not self.postings:
            raise InvariantViolation(f"unbalanced entry {self.entry_id} ({self.kind} {self.reference}): {dict(sums)}")
