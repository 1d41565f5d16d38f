"""TCP ports for programs that can't take a free one by themselves."""

import socket
import time

START_TIMEOUT_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
