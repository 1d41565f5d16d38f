"""Accounts, cash, the market's mode and date."""

from typing import Annotated, Literal

from pydantic import StringConstraints

from gateway.requests.fields import Amount, Day, Empty, Name, Request, Text, Word
from gateway.requests.loans import CustodyRef
from market.commands import AccountKind, Deposit, FreezeAccount, Mode, OpenAccount, RollDay, SetMode, Withdraw
from market.ids import AccountId, Currency


class NewAccount(Request):
    account_id: Name
    kind: Word[AccountKind]
    name: Text = ""
    owner_group: Name | None = None
    risk_class: Literal["c1", "c2", "c3", "c4", "c5"] | None = None
    reason: Text | None = None

    def to_command(self) -> OpenAccount:
        return OpenAccount(
            account_id=AccountId(self.account_id),
            kind=self.kind,
            name=self.name,
            owner_group=self.owner_group,
            risk_class=self.risk_class,
            reason=self.reason,
        )


def freeze_command(body: Empty, account_id: str, *, frozen: bool) -> FreezeAccount:
    return FreezeAccount(account_id=AccountId(account_id), frozen=frozen, reason=body.reason)


class CashMovement(Request):
    account_id: Name
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")]
    amount: Amount
    custody_ref: CustodyRef
    reason: Text | None = None

    def to_deposit(self) -> Deposit:
        return Deposit(
            account_id=AccountId(self.account_id),
            currency=Currency(self.currency),
            amount=self.amount,
            custody_ref=self.custody_ref,
            reason=self.reason,
        )

    def to_withdrawal(self) -> Withdraw:
        return Withdraw(
            account_id=AccountId(self.account_id),
            currency=Currency(self.currency),
            amount=self.amount,
            custody_ref=self.custody_ref,
            reason=self.reason,
        )


class NewMode(Request):
    mode: Word[Mode]
    reason: Text | None = None

    def to_command(self) -> SetMode:
        return SetMode(mode=self.mode, reason=self.reason)


class DayRoll(Request):
    to: Day
    reason: Text | None = None

    def to_command(self) -> RollDay:
        return RollDay(to=self.to, reason=self.reason)
