"""Refusals in the words that clients of the façade know, beside the venue's own.

An answer's `error` is a list. Its first text is the one that existing clients turn into their own exceptions; where
that is not the text of the venue's table (errors.py), the table's follows.
"""

from typing import Final

from gateway import errors
from gateway.errors import TEXT_DEFAULTS, answer_of
from gateway.facade.proof import InvalidNonce
from market import errors as market
from market.errors import MarketError

INTERNAL: Final = "EGeneral:Internal error"

KNOWN: Final[dict[type[MarketError], str]] = {
    InvalidNonce: "EAPI:Invalid nonce",
    errors.AuthRequired: "EAPI:Invalid key",
    errors.AuthInvalidKey: "EAPI:Invalid key",
    errors.AuthInvalidSignature: "EAPI:Invalid signature",
    errors.AuthPermissionDenied: "EGeneral:Permission denied",
    market.UnknownLoan: "EQuery:Unknown asset pair",
    market.InsufficientFunds: "EOrder:Insufficient funds",
    market.BelowMinimum: "EOrder:Order minimum not met",
    market.InvalidPrice: "EOrder:Invalid price:Invalid price argument",
    market.PriceOutOfBand: "EOrder:Invalid price:Invalid price argument",
    market.YieldFloor: "EOrder:Invalid price:Invalid price argument",
    market.InvalidQuantity: "EGeneral:Invalid arguments:volume",
}
FIELDS: Final = {  # the venue's names of what the façade names otherwise
    "limit_price": "price",
    "order_qty": "volume",
    "order_type": "ordertype",
    "side": "type",
    "time_in_force": "timeinforce",
    "expire_time": "expiretm",
    "display_qty": "displayvol",
    "stp_type": "stptype",
    "post_only": "oflags",
    "symbol": "pair",
    "order_id": "txid",
}


def error_texts(error: MarketError) -> list[str]:
    """Return what `error` says of a refusal: at least one text."""
    if isinstance(error, InvalidNonce):
        return [KNOWN[InvalidNonce]]
    own = answer_of(error).text.format_map(TEXT_DEFAULTS | error.details)
    known = KNOWN.get(type(error), own)
    if isinstance(error, market.InvalidArguments | errors.UnknownField) and error.field is not None:
        known = f"{own}:{FIELDS.get(error.field, error.field)}"
    return [known] if known == own else [known, own]
