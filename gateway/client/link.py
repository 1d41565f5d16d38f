"""One connection after another: connect, log in, get ready, wait for the end, and again, until closed.

Delays grow with every failure and after connections that were short. A refused login ends it for good, since the next
would be refused too.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from gateway.client.backoff import Backoff
from gateway.client.errors import ApiError, Closed, Disconnected, NotSent
from gateway.client.rest import Client
from gateway.client.socket import OnPush, Socket
from gateway.client.wire import Json

CONNECT_S = 30.0  # for the handshake, the login and all subscriptions together
REFUSING = {1008: 1.0, 4029: 1.0}  # close codes of a service that has had enough of us, and the least to wait, seconds
FOR_GOOD = frozenset({"auth_invalid_key", "auth_invalid_signature", "auth_permission_denied", "account_frozen"})


class Link:
    """socket: the connection that is ready for use, None between two.  connections: made so far.

    on_ready: is awaited with each new connection before anybody else may use it.  on_lost: gets the close code.
    on_end: gets the reason why there will be no further connection.
    """

    def __init__(
        self,
        rest: Client,
        *,
        login: Json,
        backoff: Backoff,
        on_push: OnPush,
        on_ready: Callable[[Socket, Json], Awaitable[None]],
        on_lost: Callable[[int], None],
        on_end: Callable[[Exception], None],
    ) -> None:
        self.socket: Socket | None = None
        self.connections = 0
        self.end: Exception | None = None
        self._rest = rest
        self._login = login
        self._backoff = backoff
        self._on_push = on_push
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._on_end = on_end
        self._trouble: Exception | None = None
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def start(self, timeout_s: float) -> None:
        """Raises ApiError for a refused login, Disconnected if there is no connection in time."""
        self._task = asyncio.create_task(self._keep(), name="debt-market-link")
        try:
            await self.connected(timeout_s)
        except NotSent as e:
            trouble = self._trouble
            await self.stop()
            raise Disconnected(f"no connection within {timeout_s} s: {trouble}") from (trouble or e)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self.socket is not None:
            await self.socket.close()
        await self._finish(Closed("the client is closed"))

    async def connected(self, timeout_s: float | None) -> Socket:
        """Return a connection that is ready. Raises NotSent if there is none in time, or what ended it all."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(
                    lambda: self.end is not None or (self.socket is not None and not self.socket.closed)
                )
        except TimeoutError as e:
            raise NotSent(f"no connection within {timeout_s} s") from e
        if self.end is not None:
            raise self.end
        assert self.socket is not None
        return self.socket

    async def _keep(self) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        while self.end is None:
            least_s = 0.0
            try:
                socket = await self._connect()
            except ApiError as e:
                self._trouble, least_s = e, e.retry_after_s
                if e.code in FOR_GOOD:
                    await self._finish(e)
                    return
            except (aiohttp.ClientError, Disconnected, OSError) as e:  # TimeoutError is an OSError
                self._trouble = e
            else:
                began = loop.time()
                code = await socket.wait_closed()
                await self._set(None)
                self._on_lost(code)
                least_s = REFUSING.get(code, 0.0)
                if loop.time() - began > self._backoff.most_s:
                    failures = 0
            await asyncio.sleep(max(least_s, self._backoff.delay_s(failures)))
            failures += 1

    async def _connect(self) -> Socket:
        async with asyncio.timeout(CONNECT_S):
            socket = await self._rest.socket(on_push=self._on_push)
            try:
                who: dict[str, Any] = await socket.login(**self._login) if self._rest.key is not None else {}
                await self._on_ready(socket, who)
            except BaseException:
                socket.abort()
                raise
        self.connections += 1
        await self._set(socket)
        return socket

    async def _finish(self, error: Exception) -> None:
        if self.end is not None:
            return
        self.end = error
        await self._set(None)
        self._on_end(error)

    async def _set(self, socket: Socket | None) -> None:
        async with self._changed:
            self.socket = socket
            self._changed.notify_all()
