"""The engine behind Redis, where no Redis is needed to see what a gateway makes of it."""

import zlib
from typing import Any

from market.bus.codec import Batch, State, pack_events
from market.bus.names import Names
from market.bus.remote import RemoteEngine
from market.ids import Seq
from market.port import Phase
from tests.builders import Market


class Written:
    """A Redis that has a state written down."""

    def __init__(self, market: Market) -> None:
        self._chunk = zlib.compress(pack_events(market.venue.snapshot()))
        self.asks = 0

    async def publish(self, _channel: str, _message: bytes) -> None:
        self.asks += 1

    async def lrange(self, _key: str, _first: int, _last: int) -> list[bytes]:
        return [self._chunk]


async def test_an_engine_whose_state_comes_before_any_sign_of_life_is_not_quiet() -> None:
    written: Any = Written(market := Market())
    remote = RemoteEngine(written, Names())
    remote._early = []
    await remote._take_state(State(1, market.venue.seq, "state", ""))
    assert (remote.phase, remote.seq) == (Phase.ONLINE, market.venue.seq)
    assert remote.quiet_for_s() < 1


async def test_the_last_words_of_an_engine_that_was_replaced_are_not_listened_to() -> None:
    written: Any = Written(market := Market())
    remote = RemoteEngine(written, Names())
    remote._early = []
    await remote._take_state(State(3, market.venue.seq, "state", ""))
    late = Batch(1, Seq(0), Seq(0), (), Seq(0), "")
    await remote._batch(late)
    assert (remote.phase, remote.epoch, written.asks) == (Phase.ONLINE, 3, 0)
    remote._heard_at -= 2 * remote._quiet_s
    await remote._batch(late)
    assert (remote.phase, written.asks) == (Phase.RECOVERING, 1), (
        "but who alone speaks is the market, as after a restore"
    )


def test_what_partitions_keep_in_redis_has_names_of_their_own_and_that_of_the_first_are_as_ever() -> None:
    assert Names("m").commands == Names("m", 0).commands == "{m}:commands"
    assert Names("m", 1).commands == "{m:1}:commands"
