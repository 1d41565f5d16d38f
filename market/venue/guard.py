"""Market-maker protection of one group of quotes: how many fills, and of how much face, a window of time has seen."""

from collections import deque
from dataclasses import dataclass, field

from market.ids import AccountId, Face, Nanos


@dataclass(slots=True, kw_only=True)
class Guard:
    """max_fills, max_face: what triggers it when reached, None for no such bound.  window: in nanoseconds.

    frozen: it was triggered; nothing of the group is in a book, and nothing gets there.
    fills: those that may still count, oldest first.
    """

    account_id: AccountId
    group: str
    max_fills: int | None
    max_face: Face | None
    window: int
    frozen: bool = False
    fills: deque[tuple[Nanos, Face]] = field(default_factory=deque)

    def is_due(self, at: Nanos, *, more_fills: int = 0, more_face: int = 0) -> bool:
        """Whether the fills of the window that ends at `at`, and so many more, reach a bound."""
        while self.fills and self.fills[0][0] <= at - self.window:
            self.fills.popleft()
        if self.max_fills is not None and len(self.fills) + more_fills >= self.max_fills:
            return True
        return self.max_face is not None and sum(face for _, face in self.fills) + more_face >= self.max_face
