"""The board of committed offers: the words in which it is asked for, and the figures that are entered on it.

A loan's yield takes tens of microseconds to find, so what changed is only noted when it is heard and entered when
somebody looks, a few loans at a time: a day on which a hundred thousand yields move holds nobody up.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import PlainValidator, WithJsonSchema

from gateway.answers.loans import Loan
from gateway.reads.loan_view import PAR, LoanView
from gateway.reads.schemas import Row, remaining_months
from gateway.reads.views import Views
from gateway.requests.fields import Request
from gateway.wire import exact_decimal, scaled
from market.claims.loan import LIVE_STATUSES, ClaimType, GuaranteeKind, LoanStatus
from market.events import Event, MarketChanged
from market.ids import LoanId, Seq
from market.orderbook.board import Board, Entry, Facet, Figure, Key, Wanted
from market.orderbook.columns import Columns
from market.partitions import partition_of
from market.port import Committed

PPM = 1_000_000
SETTLED_AT_ONCE = 50  # loans entered before others get their turn: some milliseconds at most
STEPS_AT_ONCE = 2_000  # entries searched likewise

PLACES = {
    Figure.YTM: 6,
    Figure.PRICE: 2,
    Figure.DISCOUNT: 2,
    Figure.REMAINING_MONTHS: 0,
    Figure.RATE: 6,
    Figure.AVAILABLE: 2,
    Figure.BID: 2,
    Figure.LAST: 2,
}
FIGURES = {figure.name.lower(): figure for figure in PLACES}  # with bounds
BY_LOAN = "loan_id"
SORTS: Mapping[str, Figure | None] = {BY_LOAN: None, **{figure.name.lower(): figure for figure in Figure}}
GRADE_BYTES = 7  # by which grades are in order: as many as a figure has room for
PAID_MAX = 100_000  # instalments: more than any loan has
ALL_STATUSES = "all"
CLAIM_TYPES = list(ClaimType)
NAMING = frozenset({"loan_id", "symbol"})
LOANS_MAX = 500  # that a wish may name

E = TypeVar("E", bound=StrEnum)


def _text_list(value: object) -> list[str]:
    """Read a comma-separated text, or a list of texts."""
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("must be one or several words")
    return texts


def _loans(value: object) -> frozenset[LoanId]:
    texts = _text_list(value)
    if len(texts) > LOANS_MAX:
        raise ValueError(f"must be {LOANS_MAX} loans at most")
    return frozenset(map(LoanId, texts))


def _fields(value: object) -> frozenset[str]:
    texts = _text_list(value)
    if not set(texts) <= Loan.model_fields.keys():
        raise ValueError("must be fields of a loan")
    return frozenset(texts)


def _words(kind: type[E]) -> Callable[[object], frozenset[str]]:
    def read(value: object) -> frozenset[str]:
        texts = _text_list(value)
        if not set(texts) <= set(kind):
            raise ValueError(f"must be of {', '.join(kind)}")
        return frozenset(texts)

    return read


def _statuses(value: object) -> frozenset[str]:
    return frozenset(LoanStatus) if value in (ALL_STATUSES, [ALL_STATUSES]) else _words(LoanStatus)(value)


def _flag(value: object) -> bool:
    if value not in (True, False, "true", "false") or isinstance(value, int) is not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value in (True, "true")


def _units(places: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        number = exact_decimal(value)
        units = None if number is None else scaled(number, places)
        if units is None:
            raise ValueError(f"must be a decimal with at most {places} places")
        return units

    return read


def _sort(value: object) -> str:
    if not isinstance(value, str) or value.removeprefix("-") not in SORTS:
        raise ValueError(f"must be of {', '.join(SORTS)}, with - before it for descending")
    return value


def _list_of(words: Collection[str] | None) -> WithJsonSchema:
    items: dict[str, Any] = {"type": "string"} if words is None else {"type": "string", "enum": sorted(words)}
    about = "one or several: a list, or a text with commas"
    return WithJsonSchema(
        {"anyOf": [{"type": "array", "items": items, "minItems": 1}, {"type": "string"}], "description": about}
    )


def _bound_of(places: int) -> WithJsonSchema:
    text = {"type": "string", "pattern": r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"}
    return WithJsonSchema({"anyOf": [text, {"type": "number"}], "description": f"at most {places} places"})


Loans = Annotated[frozenset[LoanId], PlainValidator(_loans), _list_of(None)]
Grades = Annotated[frozenset[str], PlainValidator(lambda value: frozenset(_text_list(value))), _list_of(None)]
Statuses = Annotated[frozenset[str], PlainValidator(_statuses), _list_of([*LoanStatus, ALL_STATUSES])]
ClaimTypes = Annotated[frozenset[str], PlainValidator(_words(ClaimType)), _list_of(ClaimType)]
Guarantees = Annotated[frozenset[str], PlainValidator(_words(GuaranteeKind)), _list_of(GuaranteeKind)]
Fields = Annotated[frozenset[str], PlainValidator(_fields), _list_of(Loan.model_fields)]
Flag = Annotated[bool, PlainValidator(_flag), WithJsonSchema({"type": "boolean"})]
Millionths = Annotated[int, PlainValidator(_units(6)), _bound_of(6)]
Hundredths = Annotated[int, PlainValidator(_units(2)), _bound_of(2)]
Whole = Annotated[int, PlainValidator(_units(0)), _bound_of(0)]
SortedBy = Annotated[
    str,
    PlainValidator(_sort),
    WithJsonSchema({"type": "string", "enum": [sign + name for name in SORTS for sign in ("", "-")]}),
]


class BoardWish(Request):
    """Which loans of the board, in which order: the same words in a query and on the socket.

    Figures are of the best offer (`ytm`, `price`, `discount`, `available`), of the best bid (`bid`), of the last trade
    (`last`) and of the loan; a loan that lacks one lies in no bounds of it. Besides, an order may be by `loan_id`,
    `grade`, `claim_type` (as they are listed) and `history`: who was late before who never was, then by instalments
    paid.  loan_id: of these only, 500 at most.  status: live loans if not given, `all` for all.
    """

    loan_id: Loans | None = None
    q: str | None = None
    grade: Grades | None = None
    status: Statuses | None = None
    claim_type: ClaimTypes | None = None
    guarantee: Guarantees | None = None
    originator: str | None = None
    currency: str | None = None
    never_late: Flag | None = None
    min_ytm: Millionths | None = None
    max_ytm: Millionths | None = None
    min_price: Hundredths | None = None
    max_price: Hundredths | None = None
    min_discount: Hundredths | None = None
    max_discount: Hundredths | None = None
    min_remaining_months: Whole | None = None
    max_remaining_months: Whole | None = None
    min_rate: Millionths | None = None
    max_rate: Millionths | None = None
    min_available: Hundredths | None = None
    max_available: Hundredths | None = None
    min_bid: Hundredths | None = None
    max_bid: Hundredths | None = None
    min_last: Hundredths | None = None
    max_last: Hundredths | None = None
    sort: SortedBy | None = None

    def to_wanted(self) -> Wanted:
        statuses = frozenset(LIVE_STATUSES) if self.status is None else self.status
        chosen: Mapping[Facet, frozenset[str] | None] = {
            Facet.STATUS: None if statuses >= frozenset(LoanStatus) else statuses,
            Facet.CURRENCY: None if self.currency is None else frozenset({self.currency}),
            Facet.ORIGINATOR: None if self.originator is None else frozenset({self.originator}),
            Facet.GRADE: self.grade,
            Facet.CLAIM_TYPE: self.claim_type,
            Facet.GUARANTEE: self.guarantee,
            Facet.NEVER_LATE: None if self.never_late is None else frozenset({_flag_word(self.never_late)}),
        }
        bounds = [
            (figure, getattr(self, f"min_{name}"), getattr(self, f"max_{name}")) for name, figure in FIGURES.items()
        ]
        return Wanted(
            loans=self.loan_id,
            words=tuple((facet, words) for facet, words in chosen.items() if words is not None),
            bounds=tuple((figure, low, high) for figure, low, high in bounds if (low, high) != (None, None)),
            text=(self.q or "").casefold(),
            sort=None if self.sort is None else SORTS[self.sort.removeprefix("-")],
            descending=self.sort is not None and self.sort.startswith("-"),
        )


class BoardParts(BoardWish):
    """fields: of each loan only these, and what names it."""

    fields: Fields | None = None


WISHES = frozenset(BoardWish.model_fields)  # the words by which the board is asked for


def part_of(row: Row, fields: frozenset[str] | None) -> Row:
    """Return what was asked for of a loan, and always what names it. fields: None for all."""
    return row if fields is None else {name: value for name, value in row.items() if name in fields or name in NAMING}


class CommittedBoard:
    """The board as committed; an engine listener, to be registered behind the views."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._board, self._columns = Board(), Columns()
        self._dirty: dict[LoanId, None] = {}
        self._all_dirty = False
        self._untold: dict[LoanId, None] = {}  # entered since they were last taken
        self._settling = asyncio.Lock()

    def on_snapshot(self, epoch: int, seq: Seq, events: Sequence[Event]) -> None:  # noqa: ARG002
        """Enter all anew; in a market of several partitions the loans of this one, while the others stay."""
        views, partition = self._views, partition_of(seq)
        if views.partitions == 1:
            self._board, self._columns = Board(), Columns()
        self._dirty |= dict.fromkeys(loan_id for loan_id, loan in views.loans.items() if loan.partition == partition)

    def on_epoch(self, epoch: int, seq: Seq) -> None:  # noqa: ARG002
        self.on_batch_end()  # of quotes that are gone

    def on_entry(self, entry: Committed) -> None:
        if any(type(event) is MarketChanged for event in entry.events):
            self._all_dirty = True  # the business date may have moved, and every yield with it

    def on_batch_end(self) -> None:
        if self._all_dirty:
            self._all_dirty = False
            self._dirty = dict.fromkeys(self._views.loans)
            return
        views = self._views
        self._dirty |= dict.fromkeys(loan.loan_id for loan, _ in views.book_deltas)
        self._dirty |= dict.fromkeys(loan.loan_id for loan in views.restated)

    async def settle(self) -> None:
        """Enter what changed up to now, giving way to others."""
        async with self._settling:
            for i, loan_id in enumerate(list(self._dirty), 1):
                self._dirty.pop(loan_id, None)
                self._untold[loan_id] = None
                if (loan := self._views.loans.get(loan_id)) is not None:
                    entry = entry_of(loan)
                    self._board.put(entry)
                    self._columns.put(entry)
                if i % SETTLED_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def take_untold(self) -> list[LoanId]:
        """Return the loans that were entered since the last call: for the one who tells of changes."""
        untold, self._untold = self._untold, {}
        return list(untold)

    def search(self, wanted: Wanted, *, after: Key | None, limit: int, steps: int) -> tuple[list[Key], Key | None]:
        """As `Board.search`, over what was entered."""
        return self._board.search(wanted, after=after, limit=limit, steps=steps)

    def get(self, loan_id: LoanId) -> Entry | None:
        return self._board.get(loan_id)

    @property
    def columns(self) -> Columns:
        """What was entered, for questions about all of it; `settle` first."""
        return self._columns

    async def page(self, wanted: Wanted, *, after: Key | None = None, limit: int) -> tuple[list[LoanId], Key | None]:
        """Return the first `limit` loans behind `after`, and the key behind which there are more, None for the end."""
        await self.settle()
        found: list[Key] = []
        more: Key | None = after
        while True:
            # One more than asked for, so that a page that happens to end with the last loan says so.
            part, more = self._board.search(wanted, after=more, limit=limit + 1 - len(found), steps=STEPS_AT_ONCE)
            found += part
            if more is None or len(found) > limit:
                break
            await asyncio.sleep(0)
        return [LoanId(key[2]) for key in found[:limit]], found[limit - 1] if len(found) > limit else None


def entry_of(loan: LoanView) -> Entry:
    """Return what the board shows of a loan now."""
    state, terms, ask, bid = loan.state, loan.state.terms, loan.best_ask, loan.best_bid
    ytm = None if ask is None else loan.ytm_at(ask[0])
    said = (terms.loan_id, terms.originator, terms.purpose, terms.region, terms.grade, terms.borrower_ref)
    return Entry(
        loan_id=terms.loan_id,
        figures=(
            None if ytm is None else round(ytm * PPM),
            None if ask is None else ask[0],
            None if ask is None else PAR - ask[0],
            remaining_months(loan),
            terms.annual_rate_ppm,
            None if ask is None else ask[1],
            None if bid is None else bid[0],
            loan.last_price,
            int.from_bytes(terms.grade.encode()[:GRADE_BYTES].ljust(GRADE_BYTES, b"\0")) if terms.grade else None,
            CLAIM_TYPES.index(terms.claim_type),
            terms.never_late * PAID_MAX + state.paid,
        ),
        words=(
            state.status,
            terms.currency,
            terms.originator,
            terms.grade,
            terms.claim_type,
            terms.guarantee.kind,
            _flag_word(terms.never_late),
        ),
        text="\n".join(said).casefold(),
    )


def _flag_word(flag: bool) -> str:
    return "true" if flag else "false"
