"""A copy of a running private PostgreSQL, made by pg_basebackup and kept up to date by streaming."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from market.settlement import embedded

START_TIMEOUT_S = STOP_TIMEOUT_S = 60.0


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs, of the version that the private server has."""
    return embedded._binary(name)


def base_backup(dsn: str, folder: Path, *flags: str) -> None:
    """Copy a running cluster into `folder`/postgres, owned by whom the private server runs as."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = folder / "postgres"
    account = embedded._account_for(cluster)
    cluster.mkdir(mode=0o700)
    account.own(cluster)
    command = [program("pg_basebackup"), "-d", dsn, "-D", str(cluster), "-X", "stream", "-c", "fast", *flags]
    done = subprocess.run(account.command([cluster], command), capture_output=True, text=True, cwd="/", check=False)
    if done.returncode:
        raise AssertionError(done.stderr)


@contextmanager
def running_replica(dsn: str, folder: Path) -> Iterator[str]:
    """A hot standby that follows the server at `dsn`; yields its own DSN."""
    base_backup(dsn, folder, "-R")
    cluster = folder / "postgres"
    account = embedded._account_for(cluster)
    with embedded._socket_folder(account) as sockets, (folder / "postgres.log").open("wb") as log:
        settings = ["-k", str(sockets), "-c", "listen_addresses=", "-c", "wal_receiver_status_interval=1"]
        command = [program("postgres"), "-D", str(cluster), *settings]
        process = subprocess.Popen(account.command([cluster, sockets], command), stderr=log, cwd="/")
        try:
            _wait_until_it_answers(process, sockets, log.name)
            yield embedded._dsn(sockets)
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown
            process.wait(STOP_TIMEOUT_S)


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", sockets: Path, log: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while subprocess.run([program("pg_isready"), "-q", "-h", str(sockets)], check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(Path(log).read_text())
        time.sleep(0.05)
