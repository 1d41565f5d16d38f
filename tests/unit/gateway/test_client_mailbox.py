"""What waits for a reader: in order, bounded, and ended once for all."""

import asyncio

import pytest

from gateway.client import Overrun
from gateway.client.mailbox import Mailbox


async def test_what_is_unread_is_read_before_the_end() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    mailbox.put(2)
    mailbox.end(ValueError("over"))
    mailbox.end(KeyError("too late"))
    mailbox.put(3)
    assert [await anext(mailbox) for _ in range(2)] == [1, 2]
    for _ in range(2):
        with pytest.raises(ValueError, match="over"):
            await anext(mailbox)


async def test_a_reader_waits_for_the_next() -> None:
    mailbox: Mailbox[int] = Mailbox()
    waiting = asyncio.create_task(anext(mailbox))
    await asyncio.sleep(0)
    mailbox.put(7)
    assert await waiting == 7


async def test_who_leaves_too_much_unread_is_told() -> None:
    mailbox: Mailbox[int] = Mailbox(unread_max=2)
    for n in range(3):
        mailbox.put(n)
    with pytest.raises(Overrun, match="more than 2"):
        await anext(mailbox)
