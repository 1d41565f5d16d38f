"""When a standby stops waiting: the leader is not heard although Redis is.

A leader that died gave up its lease with its session; what has to be noticed is one that lives on without being of use:
stopped, cut off from Redis or from PostgreSQL. It says all the time that it commits; who is silent for too long loses
its session, and the epoch in every transaction keeps its late work out.
"""

import asyncio
import logging
from typing import Final

from redis.asyncio import Redis

from market.bus.broadcast import LEADER_LIFE_MS
from market.bus.connect import TROUBLE, ending
from market.bus.names import Names
from market.settlement.writer import PostgresStore

log = logging.getLogger(__name__)

POLL_S: Final = 0.1


async def hurry_when_quiet(redis: "Redis", names: Names, store: PostgresStore, *, quiet_s: float) -> None:
    """Tell the store to take over once the leader was silent for `quiet_s`. A Redis that is away says nothing of it."""
    log.info("standing_by")
    loop = asyncio.get_running_loop()
    heard_at = loop.time()
    while not ending():
        try:
            if (left_ms := await redis.pttl(names.leader)) > 0:
                heard_at = loop.time() - (LEADER_LIFE_MS - left_ms) / 1_000
        except TROUBLE as e:
            log.warning("leader_unknown error=%s", e)
            heard_at = loop.time()
        if loop.time() - heard_at > quiet_s:
            log.warning("leader_quiet seconds=%.1f", loop.time() - heard_at)
            store.hurry()
            return
        await asyncio.sleep(POLL_S)
