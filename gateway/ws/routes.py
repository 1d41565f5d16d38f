"""The socket's routes: /ws/v2, the same at /v2 for existing clients, and an echo for conformance suites."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web

from gateway.errors import AuthRequired
from gateway.ws.methods import METHODS
from gateway.ws.session import CLOSE_TIMEOUT_S, Gate, Session, legal_close_code

PATHS = ("/ws/v2", "/v2")
GOODBYE = "the service restarts: connect again, resume by from_seq"  # at most 123 bytes
ECHO_PATH = "/ws/echo"
ECHO_BYTES_MAX = 32 << 20
GATE = web.AppKey("gate", Gate)


def add_websocket(app: web.Application, gate: Gate, *, echo: bool = False) -> None:
    """Add the socket's routes and what runs beside them. The hub must be the engine's listener after the views."""
    app[GATE] = gate
    app.cleanup_ctx.append(_beside)
    app.on_shutdown.append(_say_goodbye)
    for path in PATHS:
        app.router.add_get(path, serve_socket)
    if echo:
        app.router.add_get(ECHO_PATH, serve_echo)


async def serve_socket(request: web.Request) -> web.WebSocketResponse:
    gate = request.app[GATE]
    gate.browsers.check_origin(request)
    token = gate.browsers.token_of(request)
    signed_in = None
    if token is not None:
        with suppress(AuthRequired):  # a session that has ended: as anybody
            signed_in = gate.sessions.of_token(token)
    socket = _socket(gate.limits.frame_bytes_max)
    await socket.prepare(request)
    transport = request.transport
    if transport is None or transport.is_closing():  # left during the handshake
        return socket
    session = Session(
        gate,
        socket,
        transport,
        connection_id=f"c-{secrets.token_hex(8)}",
        challenge=secrets.token_urlsafe(32),
        peer=request.remote,
        numbers=request.query.get("num") == "json",
        methods=METHODS,
        signed_in=signed_in,
    )
    await session.run()
    return socket


async def serve_echo(request: web.Request) -> web.WebSocketResponse:
    """Send every message back: what a conformance suite needs to judge frames and close codes."""
    socket = _socket(ECHO_BYTES_MAX)
    await socket.prepare(request)
    code: int = WSCloseCode.OK
    with suppress(ConnectionError):
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            elif message.type is WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is not WSMsgType.PONG:
                code = legal_close_code(message.data) if message.type is WSMsgType.CLOSE else code
                break
    await socket.close(code=code, drain=False)
    return socket


def _socket(frame_bytes_max: int) -> web.WebSocketResponse:
    """Frames one byte short of aiohttp's limit are the largest that it takes."""
    return web.WebSocketResponse(
        autoclose=False, autoping=False, compress=False, max_msg_size=frame_bytes_max + 1, timeout=CLOSE_TIMEOUT_S
    )


async def _beside(app: web.Application) -> AsyncIterator[None]:
    gate = app[GATE]
    tasks = [asyncio.create_task(gate.hub.run(), name="hub"), asyncio.create_task(gate.boards.run(), name="boards")]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await app[GATE].hub.stop()


async def _say_goodbye(app: web.Application) -> None:
    app[GATE].hub.close_all(WSCloseCode.SERVICE_RESTART, GOODBYE)
