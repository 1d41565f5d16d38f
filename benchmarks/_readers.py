"""A process with many sockets that read a market, or do not: the far end of a benchmark.

Sockets are handled by hand, so that not reading is really that: no library takes bytes off the kernel meanwhile.
"""

import json
import multiprocessing
import os
import selectors
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]
READ_BYTES = 1 << 18
CHECKED = 10  # sockets whose every message is read, the others' are only taken
STAMP = b'"timestamp":"'
STAMP_SIZE = len("2024-01-20T12:00:00.123456Z")
SLOW_CLOSE = struct.pack("!H", 4008) + b"slow_consumer"
SETUP_TIMEOUT_S = 60.0


@dataclass(slots=True)
class Report:
    """What a group has seen since it was last asked. latencies_ms: from the market's stamp of a step to its being read.

    merged: messages that stand for several, of the checked sockets.  gaps: steps of them that did not fit.
    told_slow: sockets that were closed as slow consumers.  closed: all that were closed.
    """

    latencies_ms: list[float]
    merged: int
    gaps: int
    told_slow: int
    closed: int


class Group:
    """The process. receive_bytes: what the kernel may hold of each socket here, None: what it likes."""

    def __init__(self, url: str, count: int, requests: Sequence[Json], *, receive_bytes: int | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        arguments = (far, url, count, requests, receive_bytes)
        self._process = context.Process(target=serve_group, args=arguments, daemon=True)
        self._process.start()
        self._ask("ready")

    def read(self, first: int, last: int, *, on: bool) -> None:
        """Let the sockets first <= i < last read from now on, or not."""
        self._ask(("read", first, last, on))

    def report(self) -> Report:
        report: Report = self._ask("report")
        return report

    def stop(self) -> None:
        self._pipe.send("stop")
        self._process.join(timeout=10)

    def _ask(self, what: object) -> Any:
        self._pipe.send(what)
        if not self._pipe.poll(SETUP_TIMEOUT_S):
            raise TimeoutError(f"the readers did not answer {what}")
        return self._pipe.recv()


def serve_group(pipe: Connection, url: str, count: int, requests: Sequence[Json], receive_bytes: int | None) -> None:
    readers = [Reader(connected(url, receive_bytes), requests, is_checked=i < CHECKED) for i in range(count)]
    buffer, latencies_ms, said = bytearray(READ_BYTES), list[float](), Stamps()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        for reader in readers:
            selector.register(reader.socket, selectors.EVENT_READ, reader)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    match pipe.recv():
                        case "ready":
                            pipe.send(None)
                        case "stop":
                            return
                        case "report":
                            pipe.send(report_of(readers, latencies_ms))
                            latencies_ms = []
                        case ("read", first, last, on):
                            for reader in readers[first:last]:
                                turn(selector, reader, on=on)
                            pipe.send(None)
                    continue
                reader = key.data
                try:
                    size = reader.socket.recv_into(buffer)
                except ConnectionError:
                    size = 0
                if not size:
                    reader.is_closed = True
                    turn(selector, reader, on=False)
                    continue
                data = bytes(memoryview(buffer)[:size])
                if (stamp := said.last_in(data)) is not None:
                    latencies_ms.append((time.time() - stamp) * 1e3)
                reader.take(data)


def turn(selector: selectors.BaseSelector, reader: "Reader", *, on: bool) -> None:
    if reader.is_reading is not on:
        reader.is_reading = on
        if on and not reader.is_closed:
            selector.register(reader.socket, selectors.EVENT_READ, reader)
        elif not on:
            selector.unregister(reader.socket)


def report_of(readers: "Sequence[Reader]", latencies_ms: list[float]) -> Report:
    return Report(
        latencies_ms=latencies_ms,
        merged=sum(reader.merged for reader in readers),
        gaps=sum(reader.gaps for reader in readers),
        told_slow=sum(SLOW_CLOSE in reader.tail for reader in readers),
        closed=sum(reader.is_closed for reader in readers),
    )


class Stamps:
    """Reads the time of the last step in a run of bytes; many sockets get the same one after the other."""

    def __init__(self) -> None:
        self._text, self._at = b"", 0.0

    def last_in(self, data: bytes) -> float | None:
        start = data.rfind(STAMP)
        text = data[start + len(STAMP) :][:STAMP_SIZE]
        if start < 0 or len(text) < STAMP_SIZE:
            return None
        if text != self._text:
            self._text, self._at = text, datetime.fromisoformat(text.decode()).timestamp()
        return self._at


class Reader:
    """One socket, subscribed. A checked one follows the numbers of its books."""

    def __init__(self, connection: socket.socket, requests: Sequence[Json], *, is_checked: bool) -> None:
        self.socket, self.is_checked = connection, is_checked
        self.is_reading, self.is_closed = True, False
        self.merged = self.gaps = 0
        self.tail = b""
        self._unread = b""
        self._seq: dict[str, int] = {}
        for request in requests:
            connection.sendall(masked(json.dumps(request).encode()))
        connection.setblocking(False)

    def take(self, data: bytes) -> None:
        self.tail = (self.tail + data)[-64:]
        if self.is_checked:
            self._unread += data
            for payload in self._frames():
                self._hear(json.loads(payload))

    def _frames(self) -> Iterator[bytes]:
        """Yield the text frames that are there as a whole."""
        data, at = self._unread, 0
        while len(data) >= at + 4:
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            elif size == 127:
                size, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
            if len(data) < start + size:
                break
            if data[at] == 0x81:
                yield data[start : start + size]
            at = start + size
        self._unread = data[at:]

    def _hear(self, message: Json) -> None:
        if message.get("channel") != "book":
            return
        [row] = message["data"]
        self.merged += "conflated" in row
        if message["type"] == "update":
            self.gaps += row["prev_seq"] != self._seq[row["symbol"]]
        self._seq[row["symbol"]] = row["seq"]


def connected(url: str, receive_bytes: int | None) -> socket.socket:
    """Return a socket on the other side of a WebSocket handshake."""
    parts = urlsplit(url)
    peer = socket.socket()
    if receive_bytes is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    peer.settimeout(SETUP_TIMEOUT_S)
    peer.connect((parts.hostname, parts.port))
    peer.sendall(
        b"GET /ws/v2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):  # byte by byte: the greeting follows at once
        got = peer.recv(1)
        if not got:
            raise ConnectionError(f"no handshake: {head!r}")
        head += got
    if b" 101 " not in head:
        raise ConnectionError(f"no WebSocket: {head!r}")
    return peer


def masked(payload: bytes) -> bytes:
    """Return a text frame as a client must send it."""
    size, mask = len(payload), os.urandom(4)
    head = bytes((0x81, 0x80 | size)) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
