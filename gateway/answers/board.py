"""The board's answers: pages, and what concerns all loans of a filter at once."""

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from gateway.answers.fields import Count, Moment, Yield
from gateway.answers.loans import Loan


def _optional(field: FieldInfo) -> FieldInfo:
    """Return a field that may be left out, which is not the same as null."""
    return FieldInfo.merge_field_infos(
        field, default=None, validate_default=False, json_schema_extra=lambda schema: schema.pop("default", None)
    )


LoanPart = create_model(
    "LoanPart",
    __doc__="What was asked for by `fields` of a loan, and what names it.",
    **{  # type: ignore[call-overload]
        name: (field.annotation, field if name in ("loan_id", "symbol") else _optional(field))
        for name, field in Loan.model_fields.items()
    },
)


class BoardPage(BaseModel):
    """total: how many loans the filter lets through now, on all pages.  items: parts of loans if `fields` was given."""

    items: list[Loan | LoanPart]  # type: ignore[valid-type]
    next_cursor: str | None
    total: Count


class BoardOrder(BaseModel):
    """items: ids of all loans that the filter lets through, in the order wanted, as it was at one moment."""

    items: list[str]
    total: Count
    timestamp: Moment


class BoardMap(BaseModel):
    """Loans by months to go, grade and yield: each list has one item per group of loans that are about the same.

    ytm: mean of the group.  count: loans in it.  never_late: of these.  loan_id: null where there are several.
    """

    remaining_months: list[Count]
    ytm: list[Yield]
    grade: list[str]
    count: list[Count]
    never_late: list[Count]
    loan_id: list[str | None]
    total: Count
    timestamp: Moment


class BoardFacets(BaseModel):
    """How many loans there are of each word, by the filter without its own wish for that word's kind.

    total: by the whole filter.
    """

    status: dict[str, Count]
    currency: dict[str, Count]
    originator: dict[str, Count]
    grade: dict[str, Count]
    claim_type: dict[str, Count]
    guarantee: dict[str, Count]
    never_late: dict[str, Count]
    total: Count
    timestamp: Moment
