"""A reader of one depth view, as PROTOCOL section 4 tells him to be: apply if it follows, cut to the depth, check."""

from zlib import crc32

from market.ids import Face, PriceBp
from market.orderbook.depth import Depth, DepthDelta

Rows = dict[PriceBp, Face]


class DepthClient:
    def __init__(self, depth: int, snapshot: Depth) -> None:
        self.depth = depth
        self.seq, self.checksum, self.digest = snapshot.seq, snapshot.checksum, snapshot.digest
        self.bids, self.asks = dict(snapshot.bids), dict(snapshot.asks)
        self.check()

    def apply(self, delta: DepthDelta) -> None:
        assert (delta.depth, delta.prev_seq, delta.seq) == (self.depth, self.seq, max(delta.seq, self.seq + 1))
        assert delta.bids or delta.asks, "a delta of nothing"
        self.seq, self.checksum, self.digest = delta.seq, delta.checksum, delta.digest
        for rows, held, best_is_highest in ((delta.bids, self.bids, True), (delta.asks, self.asks, False)):
            assert_in_order(rows, best_is_highest)
            for price, quantity in rows:
                assert held.get(price, 0) != quantity, "a level is told that did not change"
                if quantity == 0:
                    del held[price]
                else:
                    held[price] = quantity
            for price in sorted(held, reverse=best_is_highest)[self.depth :]:
                del held[price]
        self.check()

    def state(self) -> Depth:
        bids = [(price, self.bids[price]) for price in sorted(self.bids, reverse=True)]
        asks = [(price, self.asks[price]) for price in sorted(self.asks)]
        return Depth(self.seq, bids, asks, self.checksum, self.digest)

    def check(self) -> None:
        """Compute both check numbers from what is held, by the words of the protocol."""
        _, bids, asks, *_ = self.state()
        levels = asks[:10] + bids[:10]
        assert crc32("".join(f"{price}{quantity}" for price, quantity in levels).encode()) == self.checksum
        text = "#".join("|".join(f"{price}:{quantity}" for price, quantity in side[:10]) for side in (asks, bids))
        assert crc32(text.encode()) == self.digest


def assert_in_order(rows: list[tuple[PriceBp, Face]], best_is_highest: bool) -> None:
    """Removals come first; each part goes from best to worst."""
    removed = [price for price, quantity in rows if quantity == 0]
    told = [price for price, quantity in rows if quantity != 0]
    assert [price for price, _ in rows] == removed + told
    assert removed == sorted(removed, reverse=best_is_highest)
    assert told == sorted(told, reverse=best_is_highest)
