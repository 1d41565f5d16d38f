"""Refusals: one class each, directly under MarketError. A refused command left no trace.

The gateway holds the only table from these classes to codes and statuses; a test walks the classes.
"""


class InvariantViolation(Exception):
    """Our own bug: money or title would be wrong. It stops the process and is never caught to carry on."""


class MarketError(Exception):
    """A command that can't be done.

    field: the request's field at fault, in the wire's words, if one is.  details: what a client may act on (have, need,
    rule, ...); integers are minor units of cash or face, and the gateway renders them.
    """

    def __init__(self, message: str = "", *, field: str | None = None, **details: int | str | None) -> None:
        super().__init__(message or type(self).__doc__ or type(self).__name__)
        self.field = field
        self.details = details


class InvalidArguments(MarketError):
    """An argument is malformed or contradicts another."""


class AccountFrozen(MarketError):
    """The account is frozen: it may only cancel."""


class NotEligible(MarketError):
    """This account may not buy this loan."""


class UnknownAccount(MarketError):
    """There is no such account."""


class InvalidPrice(MarketError):
    """The price is not positive or off tick."""


class PriceOutOfBand(MarketError):
    """The price is outside the band or the collar around the reference price."""


class YieldFloor(MarketError):
    """At this price the buyer's yield would be below the floor."""


class RuleViolation(MarketError):
    """A rule of the loan's rulebook forbids it (details: rule)."""


class InvalidQuantity(MarketError):
    """The quantity is not positive, off lot, or below the filled part."""


class BelowMinimum(MarketError):
    """The order is smaller than the minimum face or consideration."""


class InsufficientFunds(MarketError):
    """Available cash does not cover price, accrued interest and fee (details: have, need, currency)."""


class InsufficientClaims(MarketError):
    """Available face does not cover the quantity (details: have, need)."""


class PostOnlyCross(MarketError):
    """A post-only order would have traded at once."""


class FokUnfilled(MarketError):
    """The whole quantity can't be filled at once."""


class MinQuantityUnfilled(MarketError):
    """The minimum quantity can't be filled at once."""


class UnknownOrder(MarketError):
    """There is no such order of this account."""


class OrderClosed(MarketError):
    """The order is in a final state (details: order_status)."""


class DuplicateId(MarketError):
    """The id was used before with other content."""


class VersionMismatch(MarketError):
    """The order has another version than the one named (details: version)."""


class StaleBook(MarketError):
    """The book is not as it was in the view named."""


class DeadlineElapsed(MarketError):
    """The request's deadline had passed before it was carried out."""


class UnknownLoan(MarketError):
    """There is no such loan."""


class LoanHalted(MarketError):
    """Trading in this loan is halted (details: reason)."""


class LoanClosed(MarketError):
    """The loan is finished: nothing can be traded (details: loan_status)."""


class NotTransferable(MarketError):
    """Claims on this loan can't be assigned."""


class MarketMode(MarketError):
    """The market's mode does not admit this command (details: mode)."""


class KillSwitch(MarketError):
    """The account's kill switch is on: unblock first."""


class SelfTrade(MarketError):
    """This side of a quote would trade with an order of its own owner."""


class MmpFrozen(MarketError):
    """Market-maker protection was triggered: reset it first (details: group)."""


class Busy(MarketError):
    """The engine's inbox is full: the command was not taken."""


class Unavailable(MarketError):
    """The engine is stopped or recovering: the command was not executed."""


class OutcomeUnknown(MarketError):
    """The command may or may not have been executed: ask by client order id."""
