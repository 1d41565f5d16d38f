"""What the bus keeps in Redis, by name. All of a partition begins with the same, in braces: one slot of a cluster.

commands: a stream; gateways add, the engine reads.  events: a channel; the engine tells every commit to all gateways.
replies: a channel per gateway; outcomes of its commands.  asks: a channel; gateways ask for the whole state.
spent: a channel; gateways tell each other what accounts spent.  Of partition 0 for all.
leader: a key that lives as long as the writing engine does.
signatures: begins the keys of signatures that were used, in a cluster. Of partition 0 for all.
gateways: a set; each has a key that lives as it does, and one value, the sessions attached to it.
Each partition has its own: its number follows the market's prefix, but that of partition 0 is left out.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    prefix: str = "debt-market"
    partition: int = 0

    def _of(self, *parts: str) -> str:
        own = self.prefix if self.partition == 0 else f"{self.prefix}:{self.partition}"
        return ":".join((f"{{{own}}}", *parts))

    @property
    def commands(self) -> str:
        return self._of("commands")

    @property
    def events(self) -> str:
        return self._of("events")

    @property
    def asks(self) -> str:
        return self._of("asks")

    @property
    def spent(self) -> str:
        return self._of("spent")

    @property
    def signatures(self) -> str:
        return self._of("signature", "")

    @property
    def leader(self) -> str:
        return self._of("leader")

    @property
    def gateways(self) -> str:
        return self._of("gateways")

    def replies(self, gateway: str) -> str:
        return self._of("replies", gateway)

    def snapshot(self, epoch: int, seq: int, nonce: str) -> str:
        return self._of("snapshot", f"{epoch}-{seq}-{nonce}")

    def alive(self, gateway: str) -> str:
        return self._of("alive", gateway)

    def sessions(self, gateway: str) -> str:
        return self._of("sessions", gateway)
