"""One budget of an account at all gateways: each tells the others what its accounts have spent, a few times a second.

No request waits for another gateway. Where an account spends at several at once, it may for that moment spend a full
bucket at each; what was too much is owed by its buckets everywhere and refills first. What Redis loses is not owed.
"""

import asyncio
import logging
from typing import Final

from redis.asyncio import Redis

from gateway.access.rates import Bucket, Rates
from market.bus.codec import Body, framed, unframed, unpack
from market.bus.connect import TROUBLE, ending
from market.bus.names import Names
from market.ids import AccountId

log = logging.getLogger(__name__)

TELL_S: Final = 0.25
POLL_S: Final = 1.0
PAUSE_S: Final = 0.2
KIND: Final = "spent"
BUCKETS: Final = frozenset(Bucket)


class Spent(Body):
    """What an account paid for at a gateway since it last said so."""

    account_id: str
    bucket: str
    count: int


class Told(Body):
    gateway: str
    spent: list[Spent]


async def share_rates(redis: "Redis", names: Names, gateway: str, rates: Rates) -> None:
    """Tell and hear until cancelled."""
    rates.note_spending()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_tell(redis, names, gateway, rates))
        tasks.create_task(_hear(redis, names, gateway, rates))


async def _tell(redis: "Redis", names: Names, gateway: str, rates: Rates) -> None:
    while not ending():
        if spent := [Spent(account_id, bucket, count) for (account_id, bucket), count in rates.take_spent()]:
            try:
                await redis.publish(names.spent, framed(KIND, Told(gateway, spent)))
            except TROUBLE as e:
                log.warning("spending_untold error=%s", e)
        await asyncio.sleep(TELL_S)


async def _hear(redis: "Redis", names: Names, gateway: str, rates: Rates) -> None:
    while not ending():
        try:
            async with redis.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe(names.spent)
                while not ending():
                    if (message := await channel.get_message(timeout=POLL_S)) is not None:
                        _count(message["data"], gateway, rates)
        except TROUBLE as e:
            log.warning("spending_unheard error=%s", e)
            await asyncio.sleep(PAUSE_S)


def _count(message: bytes, gateway: str, rates: Rates) -> None:
    try:
        told = unpack(Told, unframed(message)[1])
    except ValueError as e:
        log.warning("spending_unread error=%s", e)
        return
    if told.gateway == gateway:
        return
    for spent in told.spent:
        if spent.bucket in BUCKETS:
            rates.owe(AccountId(spent.account_id), Bucket(spent.bucket), spent.count)
