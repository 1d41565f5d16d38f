"""What waits for one reader: bounded, and ended once for all."""

import asyncio
from collections import deque
from typing import Generic, Self, TypeVar

from gateway.client.errors import Overrun

T = TypeVar("T")

UNREAD_MAX = 100_000


class Mailbox(Generic[T]):
    """An async iterator over what is put in. A reader that leaves too much unread is told by Overrun."""

    def __init__(self, unread_max: int = UNREAD_MAX) -> None:
        self._unread: deque[T] = deque()
        self._unread_max = unread_max
        self._filled = asyncio.Event()
        self._end: Exception | None = None

    @property
    def ended(self) -> bool:
        return self._end is not None

    def put(self, item: T) -> None:
        if self._end is not None:
            return
        if len(self._unread) >= self._unread_max:
            self._unread.clear()
            self.end(Overrun(f"more than {self._unread_max} messages were left unread"))
            return
        self._unread.append(item)
        self._filled.set()

    def end(self, error: Exception) -> None:
        """What is unread can still be read; then the reader gets the error. StopAsyncIteration ends a loop in peace."""
        if self._end is None:
            self._end = error
            self._filled.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._unread:
            if self._end is not None:
                raise self._end
            self._filled.clear()
            await self._filled.wait()
        return self._unread.popleft()
