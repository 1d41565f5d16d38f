"""Records conversations on the socket for docs/vectors/messages: what a client said, what the real service answered.

The service runs on a clock that stands still between steps, on a fresh database, so that one run is like another. What
chance makes (connection id, challenge, key, token) is put as fixed words, and the login is signed anew with them.
"""

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from gateway.access.auth import login_signature
from gateway.client import ApiKey
from market.commands import Command, Result
from market.ids import LoanId
from tests.builders import buy, deposit, open_account, sell
from tests.e2e.sockets import Json, Socket, login_params
from tests.e2e.stack import Stack, running_stack

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "vectors" / "messages"
BEGIN = 1_705_312_800_000_000_000  # 2024-01-15T10:00:00Z
STEP = 250_000_000  # nanoseconds between one step and the next
ME, OTHER = "MM-1", "B-2"
SECRET = "c2VjcmV0IGJ5dGVz"
KEY = "ak_example"
BARRIER = "barrier"


class Clock:
    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> int:
        return self.now


class Recorder(Socket):
    """A connection whose frames become lines, in the order in which they were sent and came."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse, stage: "Stage") -> None:
        super().__init__(connection)
        self._stage = stage
        self._heartbeats = False

    async def send(self, message: object) -> None:
        line = {"text": message} if isinstance(message, str) else {"message": message}
        self._stage.add({"from": "client", **line})
        await super().send(message)

    async def frame(self) -> Json:
        """The next frame that belongs to the story: heartbeats come when they like, unless they are the story."""
        while True:
            found = await super().frame()
            if found.get("req_id") == BARRIER:
                return found
            if found.get("channel") != "heartbeat" or self._heartbeats:
                self._stage.add({"from": "market", "message": found})
                return found

    async def settled(self) -> None:
        """Read all that is due by now, so that it stands before what comes next."""
        await self.connection.send_str(json.dumps({"method": "ping", "req_id": BARRIER}))
        await self.until(lambda m: m.get("req_id") == BARRIER)

    async def next_heartbeat(self) -> Json:
        self._heartbeats = True
        try:
            return await self.push("heartbeat")
        finally:
            self._heartbeats = False

    async def closed(self) -> int | None:
        code = await super().closed()
        self._stage.add({"from": "market", "close": code})
        return code


class Stage:
    """One conversation in the making. socket: the client whose frames are recorded."""

    def __init__(self, stack: Stack, clock: Clock, key: ApiKey) -> None:
        self.stack, self.key = stack, key
        self.socket: Recorder
        self._clock = clock
        self._lines: list[Json] = []
        self._fixed = {key.key: KEY}

    def add(self, line: Json) -> None:
        self._lines.append(line)

    def note(self, text: str) -> None:
        self.add({"note": text})

    def fix(self, made: str, shown: str) -> None:
        """Show a word that chance made as a fixed one."""
        self._fixed[made] = shown

    async def say(self, method: str, *, last: bool = False, **params: Any) -> Json:
        """Send a request, wait for its reply and, unless the connection ends with it, for what else it caused."""
        self._clock.now += STEP
        req_id = await self.socket.ask(method, **params)
        reply = await self.socket.reply(req_id)
        if not last:
            await self.socket.settled()
        return reply

    async def say_raw(self, text: str) -> None:
        """Send a frame as it is and wait for its reply."""
        self._clock.now += STEP
        await self.socket.send(text)
        await self.socket.until(lambda m: "success" in m)

    async def happens(self, *commands: Command) -> Result:
        """What others do meanwhile."""
        for command in commands:
            self._clock.now += STEP
            result = await self.stack.do(command)
        await self.socket.settled()
        return result

    def wait(self, seconds: int) -> None:
        self._clock.now += seconds * 1_000_000_000

    @asynccontextmanager
    async def connected(self, *, login: bool = False, number: int = 1) -> AsyncIterator[Recorder]:
        """Open the client's connection. number: which of the story's it is."""
        async with aiohttp.ClientSession() as http, http.ws_connect(self.stack.ws_url, max_msg_size=0) as connection:
            self.socket = Recorder(connection, self)
            self.socket.greeting = await self.socket.frame()
            [row] = self.socket.greeting["data"]
            self.fix(row["connection_id"], f"c-{number:016x}")
            self.fix(row["challenge"], f"challenge-{number}")
            if login:
                assert (await self.login())["success"]
            yield self.socket

    async def login(self, **more: Any) -> Json:
        return await self.say("login", **login_params(self.socket.greeting, self.key), **more)

    def lines(self) -> list[Json]:
        """Return the conversation as it is published."""
        text = json.dumps(self._lines)
        for made, shown in self._fixed.items():
            text = text.replace(made, shown)
        lines: list[Json] = json.loads(text)
        challenges = {}
        for line in lines:
            message = line.get("message", {})
            if message.get("channel") == "status" and "challenge" in (row := message["data"][0]):
                challenges[row["challenge"]] = row["connection_id"]
            params = message.get("params") or {}
            if params.get("sig", "").strip("0"):
                params["sig"] = login_signature(
                    SECRET, connection_id=challenges[params["challenge"]], challenge=params["challenge"], key=KEY
                )
        return lines


Scene = Callable[[Stage], Awaitable[None]]


async def record(dsn: str, scene: Scene) -> list[Json]:
    """Return a conversation of a market with the loans L1 and L2 at 98.00, of which the client has 5,000.00 each."""
    clock = Clock()
    async with running_stack(dsn, clock=clock) as stack:
        stack.rates._clock = clock
        for account_id, face in ((ME, 5_000_00), (OTHER, 2_000_00)):
            await stack.do(open_account(account_id), deposit(account_id, 100_000_00))
            for loan_id in ("L1", "L2"):
                await stack.do(
                    sell("ORIG", 9_800, face, loan_id=LoanId(loan_id)),
                    buy(account_id, 9_800, face, loan_id=LoanId(loan_id)),
                )
        stage = Stage(stack, clock, await stack.key(ME))
        stage.add({"about": inspect.getdoc(scene)})
        await scene(stage)
        return stage.lines()


def text_of(lines: list[Json]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)


def published(name: str) -> list[Json]:
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]
