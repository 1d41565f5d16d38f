"""Kill the engine, cut its link: the campaigns behind the fault tests; tests/soak.py runs long ones.

Each fault is followed by a full verification (witness.py). Prints a line per fault; the first violation ends it.
"""

import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from market.engine import Engine
from market.errors import MarketError, OutcomeUnknown, Unavailable
from market.port import Answer
from market.settlement.writer import PostgresStore
from tests.integration.faults import load
from tests.integration.faults.proxy import Cut, Proxy, proxy_to
from tests.integration.faults.witness import Told, Witness
from tests.patience import PATIENCE_S
from tests.postgres import DatabaseServer, running_server

ROOT = Path(__file__).resolve().parents[3]
Say = Callable[[str], None]


async def prepare(dsn: str) -> None:
    """Run the genesis through an engine of our own."""
    engine = Engine(store=PostgresStore(dsn, holder="genesis"), clock=time.time_ns)
    running = asyncio.create_task(engine.run())
    await engine.online()
    for command in load.genesis():
        await engine.submit(command, actor="genesis")
    engine.stop()
    await running


class Killer:
    """Starts a worker, lets it work, kills it, verifies, and sends the next one to ask for the first answers."""

    def __init__(self, dsn: str, seed: int) -> None:
        self.dsn = dsn
        self.rng = random.Random(seed)
        self.told = Told()
        self.witness = Witness(dsn)
        self.rounds = 0

    async def kill_once(self, *, after_s: float = 0.0, die_at_await: int = 0) -> bool:
        """Return whether the worker died as planned (of many awaits the last may never come)."""
        self.rounds += 1
        retry = self._to_retry()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.faults.worker", self.dsn, str(self.rounds), "0",
            *(["--die-at-await", str(die_at_await)] if die_at_await else []), "--retry", ",".join(retry),
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, limit=1 << 20,
        )  # fmt: skip
        assert process.stdout is not None
        reading = asyncio.create_task(self._listen(process.stdout, retry, started := asyncio.Event()))
        await asyncio.wait_for(started.wait(), PATIENCE_S)
        if die_at_await:
            done, _ = await asyncio.wait({reading}, timeout=20)
            died = bool(done)
        else:
            await asyncio.sleep(after_s)
            died = True
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await reading
        await process.wait()
        unanswered = [name for name in retry if name not in self.told.answers and name not in self.told.refused]
        assert not unanswered or die_at_await, f"retries without an answer: {unanswered}"
        await self.witness.verify(self.told)
        return died

    def _to_retry(self) -> list[str]:
        """The end of the last worker's load: answered ones, and those whose answer nobody heard."""
        if self.rounds == 1:
            return []
        before = self.rounds - 1
        heard = [int(name.split("-")[1]) for name in self.told.answers if name.startswith(f"{before}-")]
        last = max(heard, default=0)
        return [f"{before}-{i}" for i in range(max(last - 10, 0), last + 70)]

    async def _listen(self, pipe: asyncio.StreamReader, retry: list[str], started: asyncio.Event) -> None:
        """A line is whole or was never told. `started` is set when the retries were all answered."""
        waiting = set(retry)
        while line := await pipe.readline():
            if not line.endswith(b"\n"):
                break
            text = line.decode()
            self.told.hear(text)
            waiting.discard(text.split()[1])
            if not waiting:
                started.set()
        started.set()


async def kill_campaign(server: DatabaseServer, *, kills: int, awaits: int, seed: int, say: Say = print) -> None:
    """Kill the engine at `kills` random moments, then once at each of the first `awaits` suspensions of commits."""
    dsn = await server.create_migrated_database()
    await prepare(dsn)
    killer = Killer(dsn, seed)
    for i in range(kills):
        await killer.kill_once(after_s=killer.rng.uniform(0.01, 0.4))
        say(f"kill {i + 1}/{kills}: seq {killer.witness.twin.seq}, {len(killer.told.answers)} answers held")
    for i in range(1, awaits + 1):
        died = await killer.kill_once(die_at_await=i)
        assert died, f"await {i} was never reached"
        say(f"await {i}/{awaits}: seq {killer.witness.twin.seq}, {len(killer.told.answers)} answers held")
    lists = killer.witness.lists
    assert lists, "no servicing was under way"
    say(f"{kills} kills at random, {awaits} at an await, {lists} servicing lists of {killer.witness.events} events:")
    say("nothing told is lost, nothing is there by halves, Σ unchanged")
    await server.drop_database(dsn)


async def cut_campaign(server: DatabaseServer, *, cuts: int, seed: int, say: Say = print) -> None:
    """Cut the engine's link after the n-th message, both ways, while orders flow; verify what each client was told."""
    dsn = await server.create_migrated_database()
    await prepare(dsn)
    socket = socket_of(dsn)
    rng, witness, told = random.Random(seed), Witness(dsn), Told()
    outcomes = {"answered": 0, "not executed": 0, "unknown": 0, "refused": 0}
    with tempfile.TemporaryDirectory(prefix="dm-") as folder:
        async with proxy_to(socket, Path(folder)) as proxy:
            store = PostgresStore(dsn.split("?")[0] + f"?host={quote(folder, safe='')}", holder="cut")
            engine = Engine(store=store, clock=time.time_ns, reopen_s=0, resolve_timeout_s=5)
            running = asyncio.create_task(engine.run())
            for number in range(1, cuts + 1):
                await asyncio.wait_for(engine.online(), PATIENCE_S)
                await _one_cut(engine, proxy, rng, number, told, outcomes)
                await asyncio.wait_for(engine.online(), PATIENCE_S)
                if number % 10 == 0 or number == cuts:
                    await witness.verify(told)
                    say(f"cut {number}/{cuts}: seq {witness.twin.seq}, epoch {engine.epoch}, {outcomes}")
            engine.stop()
            await running
            assert proxy.cuts >= cuts
    assert outcomes["answered"] > 0
    assert outcomes["not executed"] > 0
    say(f"{cuts} cuts, {proxy.cuts - cuts} more while it got up: {outcomes}; every answer was kept, every refusal true")
    await server.drop_database(dsn)


async def _one_cut(
    engine: Engine, proxy: Proxy, rng: random.Random, number: int, told: Told, outcomes: dict[str, int]
) -> None:
    """Send orders until the link is cut, wait for every answer, then ask for each unclear one again."""
    again = Cut(from_client=rng.random() < 0.5, after=rng.randint(0, 40)) if rng.random() < 0.4 else None
    proxy.armed = Cut(from_client=rng.random() < 0.5, after=rng.randint(0, 12), again=again)
    before, i, waiting = proxy.cuts, 0, []
    while proxy.cuts == before:
        command = load.order(1_000 + number, i)
        waiting.append(asyncio.create_task(_ask(engine, command)))
        i += 1
        await asyncio.sleep(rng.choice([0, 0, 0.001]))
        assert i < 20_000, "the cut never came"
    for name, answer in await asyncio.gather(*waiting):
        if isinstance(answer, Answer):
            outcomes["answered"] += 1
            told.hear(load.answer_of(name, answer.result))
        elif isinstance(answer, OutcomeUnknown):
            outcomes["unknown"] += 1
        elif isinstance(answer, Unavailable):
            outcomes["not executed"] += 1
            told.refused.add(name)
        else:
            outcomes["refused"] += 1
    await asyncio.wait_for(engine.online(), PATIENCE_S)
    for k in range(max(i - 30, 0), i):
        name, answer = await _ask(engine, load.order(1_000 + number, k))
        if isinstance(answer, Answer):
            line = load.answer_of(name, answer.result)
            assert not (line.endswith("1") and name in told.refused), f"{name} was told not executed, and was"
            told.hear(line)


async def _ask(engine: Engine, command: load.LoadCommand) -> tuple[str, Answer | MarketError]:
    try:
        return load.name_of(command), await engine.submit(command, actor="load")
    except MarketError as error:
        return load.name_of(command), error


def socket_of(dsn: str) -> Path:
    """Return the unix socket of a DSN of the embedded server (host=FOLDER in its query)."""
    folder = parse_qs(urlsplit(dsn).query).get("host")
    if folder is None:
        raise ValueError(f"{dsn} does not go through a unix socket")
    return Path(folder[0]) / ".s.PGSQL.5432"


async def run_campaigns(*, kills: int, awaits: int, cuts: int, seed: int) -> None:
    """Run them on a private server of their own; a count of 0 leaves a campaign out."""
    if not kills + awaits + cuts:
        return
    with tempfile.TemporaryDirectory(prefix="dm-") as folder, running_server(Path(folder)) as server:
        if cuts:
            await cut_campaign(server, cuts=cuts, seed=seed)
        if kills or awaits:
            await kill_campaign(server, kills=kills, awaits=awaits, seed=seed)
