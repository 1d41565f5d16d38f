"""TCP ports for programs that can't take a free one by themselves."""

import secrets
import socket
import time
from contextlib import suppress

START_TIMEOUT_S = 60.0


def free_port() -> int:
    """Return a port that nobody has, of those that no system gives to whoever asks for any: so it stays free."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until_open(address: str) -> None:
    """Wait until somebody listens at host:port."""
    host, _, port = address.partition(":")
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError as e:
            if time.monotonic() > deadline:
                raise AssertionError(f"nobody listens at {address}") from e
            time.sleep(0.02)
