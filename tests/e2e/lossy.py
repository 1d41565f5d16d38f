"""A line between client and service on which frames are lost, held back, or cut off with the connection."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

from tests.e2e.stack import Stack


class LossyLine:
    """What happens to the next frame of a method or channel: `requests`, `replies` and `pushes` by name.

    requests: "cut" loses it and the connection, "hold" keeps it for `release` and cuts the connection.
    replies: "cut" loses it and the connection, "lose" loses the reply alone.
    pushes: "lose" loses the next one, "falsify" gives each a wrong checksum, as long as it stands there.
    """

    def __init__(self, target: str) -> None:
        self.url = ""
        self.requests: dict[str, str] = {}
        self.replies: dict[str, str] = {}
        self.pushes: dict[str, str] = {}
        self.connections = 0
        self._target = target
        self._held: list[tuple[aiohttp.ClientWebSocketResponse, str]] = []

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        self.connections += 1
        client = web.WebSocketResponse(autoping=True)
        await client.prepare(request)
        async with aiohttp.ClientSession() as http:
            service = await http.ws_connect(self._target, max_msg_size=0)
            tasks = [asyncio.create_task(self._up(client, service)), asyncio.create_task(self._down(client, service))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if request.transport is not None:
                request.transport.abort()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            while any(connection is service for connection, _ in self._held):
                await asyncio.sleep(0.01)
        return client

    async def release(self) -> None:
        """Let the frames that were held back arrive, late; return when the service has taken them."""
        for service, text in self._held:
            await service.send_str(text)
            await service.send_str('{"method":"ping","req_id":"after"}')
            async for frame in service:
                if json.loads(frame.data).get("req_id") == "after":
                    break
        self._held.clear()

    async def _up(self, client: web.WebSocketResponse, service: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in client:
            if frame.type is WSMsgType.TEXT:
                match self.requests.pop(json.loads(frame.data)["method"], None):
                    case "cut":
                        return
                    case "hold":
                        self._held.append((service, frame.data))
                        return
                await service.send_str(frame.data)

    async def _down(self, client: web.WebSocketResponse, service: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in service:
            message: dict[str, Any] = json.loads(frame.data)
            match self.replies.pop(message.get("method") or "", None):
                case "cut":
                    return
                case "lose":
                    continue
            match self.pushes.get(channel := message.get("channel") or ""):
                case "lose":
                    del self.pushes[channel]
                    continue
                case "falsify":
                    message["data"][0]["checksum"] ^= 1
            await client.send_str(json.dumps(message))


@asynccontextmanager
async def lossy_line(stack: Stack) -> AsyncIterator[LossyLine]:
    line = LossyLine(stack.ws_url)
    app = web.Application()
    app.router.add_get("/ws/v2", line.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    line.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield line
    finally:
        line._held.clear()
        await runner.cleanup()
