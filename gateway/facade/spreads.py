"""The latest best bids and offers of loans, for the call `Spread`.

Kept from the first time that somebody asks for a loan's on, so that a market whose clients never ask pays nothing. The
loan that was not asked for for longest is forgotten when there are too many.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.reads.loan_view import LoanView
from gateway.reads.views import Views
from market.events import Event
from market.ids import LoanId, Nanos, PriceBp, Seq
from market.port import Committed

LOANS_MAX: Final = 500
KEPT: Final = 200  # of each loan

Spread = tuple[Nanos, PriceBp | None, PriceBp | None]  # since when, best bid, best ask


class Spreads:
    """An engine listener, to be registered after the views."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._kept: OrderedDict[LoanId, deque[Spread]] = OrderedDict()
        self._at = Nanos(0)

    def of(self, loan: LoanView, now: Nanos) -> Sequence[Spread]:
        """Return what is kept of a loan, oldest first, and keep it from now on."""
        kept = self._kept.get(loan.loan_id)
        if kept is None:
            kept = self._kept[loan.loan_id] = deque(maxlen=KEPT)
            kept.append((now, *_best(loan)))
        self._kept.move_to_end(loan.loan_id)
        if len(self._kept) > LOANS_MAX:
            self._kept.popitem(last=False)
        return kept

    def on_snapshot(self, epoch: int, seq: Seq, events: Sequence[Event]) -> None:  # noqa: ARG002
        self._look_at_all()

    def on_epoch(self, epoch: int, seq: Seq) -> None:  # noqa: ARG002
        """Quotes have left the books."""
        self._look_at_all()

    def on_entry(self, entry: Committed) -> None:
        self._at = entry.at

    def on_batch_end(self) -> None:
        if self._kept:
            self._look(loan for loan, _ in self._views.book_deltas)

    def _look_at_all(self) -> None:
        loans = self._views.loans
        self._look([loans[loan_id] for loan_id in self._kept if loan_id in loans])

    def _look(self, loans: Iterable[LoanView]) -> None:
        for loan in loans:
            if (kept := self._kept.get(loan.loan_id)) is not None and kept[-1][1:] != (best := _best(loan)):
                kept.append((self._at, *best))


def _best(loan: LoanView) -> tuple[PriceBp | None, PriceBp | None]:
    bid, ask = loan.best_bid, loan.best_ask
    return None if bid is None else bid[0], None if ask is None else ask[0]
