"""The service as outside programs start it: a process of its own, a data folder, a ready file."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.client import ApiKey, Client

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
COMMAND = [sys.executable, "-m", "gateway.cli"]


@dataclass
class Service:
    """A running `debt-market serve`. log: what it wrote to standard error so far."""

    process: subprocess.Popen[bytes]
    ready: dict[str, Any]
    log: Path

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    @property
    def key(self) -> ApiKey:
        return ApiKey(**self.ready["admin_key"])

    def client(self) -> Client:
        return Client(self.url, self.key)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_TIMEOUT_S)


def environment(**changed: str) -> dict[str, str]:
    """Ours without the settings that somebody may have for the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DEBT_MARKET_")} | changed


def debt_market(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env=environment(**changed), timeout=300, check=False
    )


@contextmanager
def running_service(folder: Path, *arguments: str, port: int = 0) -> Iterator[Service]:
    """Start the service with its data in `folder` and wait until it is ready; what is left at the end is killed."""
    ready_file, log = folder / "ready.json", folder / "serve.log"
    folder.mkdir(parents=True, exist_ok=True)
    ready_file.unlink(missing_ok=True)  # of a service that was killed
    flags = ["--embedded", "--data-dir", str(folder / "data"), "--port", str(port), "--ready-file", str(ready_file)]
    with log.open("ab") as output:
        process = subprocess.Popen([*COMMAND, "serve", *flags, *arguments], stderr=output, env=environment())
    try:
        yield Service(process, _wait_until_ready(process, ready_file, log), log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], ready_file: Path, log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"serve ended with {process.returncode}:\n{log.read_text()}")
        if ready_file.exists():
            ready: dict[str, Any] = json.loads(ready_file.read_text())
            return ready
        time.sleep(0.02)
    raise AssertionError(f"serve was not ready in {START_TIMEOUT_S} s:\n{log.read_text()}")
