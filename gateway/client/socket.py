"""One WebSocket connection: replies find their request by `req_id`, pushes whoever waits for their channel.

It ends once and for all when the connection does; market.py is what makes another.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import aiohttp

from gateway.client.errors import ApiError, Disconnected, NotSent, Unanswered
from gateway.client.keys import ApiKey
from gateway.client.wire import Json, encode, parse

PUSHES_MAX = 100_000  # unread pushes of one subscription before its reader counts as stuck
ABNORMAL = 1006  # the close code of a connection that ended without one

OnPush = Callable[[Json], None]
OnReply = Callable[[Json], None]


class Socket:
    """One connection. greeting: its first row of `status`.

    on_push: gets every push, as it arrives. It must not raise.
    """

    def __init__(
        self,
        connection: aiohttp.ClientWebSocketResponse,
        key: ApiKey | None,
        greeting: Json,
        on_push: OnPush | None = None,
    ) -> None:
        self.greeting = greeting
        self._connection = connection
        self._key = key
        self._on_push = on_push
        self._is_aborted = False
        self._req_ids = itertools.count(1)
        self._replies: dict[int, asyncio.Queue[Json | None]] = {}
        self._on_reply: dict[int, OnReply] = {}
        self._pushes: dict[str, list[asyncio.Queue[Json | None]]] = {}
        self._reader = asyncio.create_task(self._read(), name="debt-market-socket")

    @classmethod
    async def greeted(
        cls, connection: aiohttp.ClientWebSocketResponse, key: ApiKey | None, on_push: OnPush | None = None
    ) -> Self:
        try:
            greeting = parse(await connection.receive_str())
        except TypeError as e:
            raise Disconnected("closed before the greeting") from e
        return cls(connection, key, greeting["data"][0], on_push)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        return self._is_aborted or self._connection.closed or self._reader.done()

    @property
    def close_code(self) -> int:
        return self._connection.close_code or ABNORMAL

    async def wait_closed(self) -> int:
        """Wait for the end; return its close code."""
        await asyncio.wait([self._reader])
        return self.close_code

    async def close(self) -> None:
        await self._connection.close()
        self._reader.cancel()
        await asyncio.wait([self._reader])

    def abort(self) -> None:
        """End the connection at once, without a word to the other side."""
        self._is_aborted = True
        response = self._connection._response  # aiohttp has no public way to its transport
        if response.connection is not None and response.connection.transport is not None:
            response.connection.transport.abort()

    async def login(self, **params: Any) -> Json:
        """Log in with the client's key. params: session, cancel_on_disconnect."""
        if self._key is None:
            raise ValueError("a login needs an API key")
        return await self.call("login", **self._key.login_params(self.greeting), **params)

    async def call(self, method: str, *, timeout_s: float | None = None, **params: Any) -> Json:
        """Return the result of a request.

        Raises ApiError if it is refused, Disconnected or Unanswered if no answer came, NotSent if nothing was asked.
        """
        return result_of((await self.ask(method, timeout_s=timeout_s, **params))[0])

    async def call_many(self, answers: int, method: str, **params: Any) -> list[Json]:
        """Return the results of a request that is answered `answers` times, in order; the first refusal is raised."""
        return [result_of(reply) for reply in await self.ask(method, answers=answers, **params)]

    async def ask(
        self,
        method: str,
        *,
        answers: int = 1,
        timeout_s: float | None = None,
        on_reply: OnReply | None = None,
        **params: Any,
    ) -> list[Json]:
        """Return the replies to a request, in order, whatever they say. Raises as `call` does, but never ApiError.

        on_reply: gets each reply as it arrives, before any push that came behind it.
        """
        req_id = next(self._req_ids)
        queue = self._replies[req_id] = asyncio.Queue()
        if on_reply is not None:
            self._on_reply[req_id] = on_reply
        try:
            if self.closed:
                raise NotSent("the socket is closed")
            async with asyncio.timeout(timeout_s):
                return await self._exchange(queue, answers, {"method": method, "params": params, "req_id": req_id})
        except TimeoutError as e:
            raise Unanswered(f"{method} was not answered within {timeout_s} s") from e
        finally:
            del self._replies[req_id]
            self._on_reply.pop(req_id, None)

    async def _exchange(self, queue: "asyncio.Queue[Json | None]", answers: int, request: Json) -> list[Json]:
        try:
            await self._connection.send_str(encode(request).decode())
        except ConnectionError as e:
            raise Disconnected(str(e)) from e
        replies = []
        for _ in range(answers):
            if (reply := await queue.get()) is None:
                raise Disconnected(f"closed with {self.close_code} before {request['method']} was answered")
            replies.append(reply)
        return replies

    async def subscribe(self, channel: str, symbols: Sequence[str] | None = None, **params: Any) -> AsyncIterator[Json]:
        """Subscribe, then return the channel's messages, snapshot first, until the socket closes (Disconnected)."""
        queue: asyncio.Queue[Json | None] = asyncio.Queue(PUSHES_MAX)
        # Before asking: the snapshot may arrive right behind the acknowledgement.
        self._pushes.setdefault(channel, []).append(queue)
        names = {} if symbols is None else {"symbol": list(symbols)}
        await self.call_many(len(symbols or [0]), "subscribe", channel=channel, **names, **params)
        return _messages(queue)

    async def _read(self) -> None:
        try:
            async for frame in self._connection:
                if frame.type is not aiohttp.WSMsgType.TEXT or self._is_aborted:
                    break  # what had arrived before it was aborted is not heard any more
                message = parse(frame.data)
                if "channel" in message:
                    if self._on_push is not None:
                        self._on_push(message)
                    for queue in self._pushes.get(message["channel"], ()):
                        queue.put_nowait(message)  # QueueFull ends the socket: nothing is lost unseen
                elif (replies := self._replies.get(req_id := message.get("req_id") or 0)) is not None:
                    if (on_reply := self._on_reply.get(req_id)) is not None:
                        on_reply(message)
                    replies.put_nowait(message)
        finally:
            for queue in [*self._replies.values(), *itertools.chain(*self._pushes.values())]:
                with suppress(asyncio.QueueFull):
                    queue.put_nowait(None)


async def _messages(queue: "asyncio.Queue[Json | None]") -> AsyncIterator[Json]:
    while (message := await queue.get()) is not None:
        yield message
    raise Disconnected("the socket is closed")


def result_of(reply: Json) -> Json:
    """Return the result of a reply. Raises ApiError if it is a refusal."""
    if reply.get("success"):
        return dict(reply.get("result") or {})
    detail = reply.get("error_detail") or {}
    raise ApiError(detail.get("code", "unknown"), str(reply.get("error", "")), body=detail)
