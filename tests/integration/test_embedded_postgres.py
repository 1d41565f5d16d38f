"""The private PostgreSQL: what it is set to, who may have it, and that it heals from every kind of sudden death."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from market.settlement import embedded
from market.settlement.embedded import EmbeddedPostgres, EmbeddedPostgresError
from tests.postgres import DatabaseServer, database_of, with_database

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import asyncio, asyncpg, sys
from pathlib import Path
from market.settlement.embedded import EmbeddedPostgres

async def main():
    with EmbeddedPostgres(Path(sys.argv[1])) as postgres:
        connection = await asyncpg.connect(postgres.dsn)
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        print(postgres.pid, flush=True)
        sys.stdin.read()

asyncio.run(main())
"""
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become someone else")


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs a server on tmp_path; the first line of its output is the postmaster's pid."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    yield process
    process.kill()
    process.communicate()
    with embedded._FolderLock(tmp_path / "postgres.lock"):
        pass  # clears away the socket's folder, as the next start would


def postmaster_of(holder: subprocess.Popen[str]) -> int:
    assert holder.stdout is not None
    return int(holder.stdout.readline())


def ask(dsn: str, query: str) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def socket_folder_of(data_dir: Path) -> Path:
    return Path((data_dir / "postgres.lock").read_text().split("\n")[1])


def ends_within(seconds: float, pid: int, data_dir: Path) -> bool:
    deadline = time.monotonic() + seconds
    while embedded._serves(pid, data_dir.resolve() / "postgres"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_server_is_durable_private_and_knows_no_locale_but_c(tmp_path: Path) -> None:
    expected = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "max_connections": "50",
    }
    with EmbeddedPostgres(tmp_path) as postgres:
        settings = {name: ask(postgres.dsn, f"SHOW {name}") for name in expected}
        collation = ask(postgres.dsn, "SELECT datcollate FROM pg_database WHERE datname = 'postgres'")
    assert settings == expected
    assert collation == "C"


def test_data_outlive_a_clean_stop_and_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    data_dir = tmp_path / ("long" * 25) / ("longer" * 15)
    with EmbeddedPostgres(data_dir, durable=False) as postgres:
        pid = postgres.pid
        ask(postgres.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert not Path(f"/proc/{pid}").exists()
    assert not (data_dir / "postgres" / "postmaster.pid").exists()
    with EmbeddedPostgres(data_dir, durable=False) as postgres:
        assert ask(postgres.dsn, "SELECT answer FROM kept") == 42


def test_stopped_server_has_no_address_and_stopping_twice_is_harmless(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path, durable=False)
    postgres.start()
    socket_dir = postgres._socket_dir
    postgres.stop()
    postgres.stop()
    assert not postgres.running
    assert socket_dir is not None
    assert not socket_dir.exists()
    with pytest.raises(EmbeddedPostgresError, match="not started"):
        _ = postgres.dsn


def test_second_server_on_a_data_folder_is_refused_by_the_pid_of_the_first(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    postmaster_of(holder)
    with pytest.raises(EmbeddedPostgresError, match=f"in use by process {holder.pid}$"):
        EmbeddedPostgres(tmp_path).start()


@linux_only
def test_server_ends_by_itself_when_its_starter_is_killed(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    postmaster = postmaster_of(holder)
    holder.kill()
    holder.wait()
    assert ends_within(10, postmaster, tmp_path)


def test_restart_at_once_after_the_starter_was_killed_finds_what_was_committed(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    postmaster_of(holder)
    socket_dir = socket_folder_of(tmp_path)
    holder.kill()
    holder.wait()
    with EmbeddedPostgres(tmp_path) as postgres:
        assert ask(postgres.dsn, "SELECT answer FROM kept") == 42
        assert not socket_dir.exists()


def test_restart_after_the_postmaster_was_killed_finds_what_was_committed(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as postgres:
        ask(postgres.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(postgres.pid, signal.SIGKILL)
    assert not postgres.running
    with EmbeddedPostgres(tmp_path) as postgres:
        assert ask(postgres.dsn, "SELECT answer FROM kept") == 42


async def test_restart_waits_for_a_backend_that_outlives_its_killed_postmaster(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    postmaster = postmaster_of(holder)
    connection = await asyncpg.connect(host=str(socket_folder_of(tmp_path)), user="postgres")
    backend = connection.get_server_pid()
    os.kill(backend, signal.SIGSTOP)
    for pid in (postmaster, holder.pid):
        os.kill(pid, signal.SIGKILL)
    holder.wait()
    release = threading.Timer(0.5, os.kill, (backend, signal.SIGCONT))
    release.start()
    with EmbeddedPostgres(tmp_path):
        assert release.finished.is_set()  # two servers on one cluster would be its ruin
    connection.terminate()


def test_server_that_outlived_its_starter_is_ended_and_replaced(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, durable=False):
        pass
    cluster = tmp_path / "postgres"
    server = [embedded._binary("postgres"), "-D", str(cluster), "-c", "listen_addresses=", "-k", "."]
    # The shell takes the death signal that is meant for the server, as if the system had none.
    command = embedded._account_for(cluster).command([cluster], ["/bin/sh", "-c", '"$@" & wait', "sh", *server])
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as shell:
        assert shell.stderr is not None
        assert any("ready to accept" in line for line in shell.stderr)
        orphan = int((cluster / "postmaster.pid").read_text().split()[0])
        shell.kill()
    assert embedded._serves(orphan, cluster)
    with EmbeddedPostgres(tmp_path, durable=False) as postgres:
        assert not embedded._serves(orphan, cluster)
        assert ask(postgres.dsn, "SELECT 42") == 42


def zombie() -> int:
    return subprocess.Popen(["/bin/sh", "-c", "exit 0"]).pid


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
@pytest.mark.parametrize(
    "pid_of",
    [
        pytest.param(lambda: 2**22 - 1, id="no process"),
        pytest.param(os.getpid, id="another program"),
        pytest.param(zombie, id="a zombie"),
    ],
)
def test_stale_pid_file_is_no_obstacle(tmp_path: Path, pid_of: Callable[[], int]) -> None:
    with EmbeddedPostgres(tmp_path, durable=False):
        pass
    (tmp_path / "postgres" / "postmaster.pid").write_text(f"{pid_of()}\n{tmp_path / 'postgres'}\n")
    with EmbeddedPostgres(tmp_path, durable=False) as postgres:
        assert ask(postgres.dsn, "SELECT 42") == 42


def test_cluster_half_made_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path, durable=False) as postgres:
        assert ask(postgres.dsn, "SELECT 42") == 42
    assert not (tmp_path / "postgres.new").exists()


def test_failure_shows_the_end_of_the_log_and_lets_go_of_the_folder(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, durable=False):
        pass
    version = tmp_path / "postgres" / "PG_VERSION"
    version.write_text("9.6\n")
    with pytest.raises(
        EmbeddedPostgresError, match=r"(?s)postgres\.log ends with.*initialized by PostgreSQL version 9\.6"
    ):
        EmbeddedPostgres(tmp_path, durable=False).start()
    version.write_text("18\n")
    with EmbeddedPostgres(tmp_path, durable=False) as postgres:
        assert ask(postgres.dsn, "SELECT 42") == 42


async def test_start_that_is_cancelled_leaves_nothing_running(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path, durable=False)
    starting = asyncio.create_task(postgres.__aenter__())
    await asyncio.sleep(0)  # the thread is on its way
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not postgres.running
    async with EmbeddedPostgres(tmp_path, durable=False) as another:
        assert another.running


def test_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LOG_BYTES_MAX", 4_000)
    with EmbeddedPostgres(tmp_path, durable=False) as postgres:
        ask(postgres.dsn, "DO $$ BEGIN FOR i IN 1..200 LOOP RAISE LOG 'line %', i; END LOOP; END $$")
    logs = sorted(tmp_path.glob("postgres.log*"))
    assert [log.name for log in logs] == ["postgres.log", "postgres.log.1"]
    assert sum(log.stat().st_size for log in logs) <= 8_000


@linux_only
@root_only
@pytest.mark.parametrize(
    ("mode", "capabilities"),
    [
        pytest.param(0o700, 1 << 2, id="below a folder of root only: may search folders"),
        pytest.param(0o755, 0, id="below a folder for all: nothing"),
    ],
)
def test_roots_server_is_not_root_and_has_the_least_capabilities(mode: int, capabilities: int) -> None:
    with tempfile.TemporaryDirectory() as folder:  # tmp_path lies below a folder of mode 0700, whatever we do
        Path(folder).chmod(mode)
        with EmbeddedPostgres(Path(folder), durable=False) as postgres:
            status = dict(
                line.split(":\t", 1) for line in Path(f"/proc/{postgres.pid}/status").read_text().splitlines()
            )
            assert ask(postgres.dsn, "SELECT 42") == 42
    assert "0" not in status["Uid"].split()
    assert "0" not in status["Gid"].split()
    if any(not parent.stat().st_mode & 0o001 for parent in Path(sys.prefix).parents):
        capabilities = 1 << 2  # the programs themselves lie below a folder of root only
    assert int(status["CapPrm"], 16) == int(status["CapAmb"], 16) == capabilities


def test_copied_databases_hold_what_the_template_held_and_are_apart(postgres: DatabaseServer) -> None:
    async def copy() -> tuple[str, str, str]:
        template = await postgres.create_database()
        connection = await asyncpg.connect(template)
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        await connection.close()
        return template, await postgres.create_database(template), await postgres.create_database(template)

    databases = template, first, second = asyncio.run(copy())
    ask(first, "DROP TABLE kept")
    assert ask(second, "SELECT answer FROM kept") == 42
    for dsn in databases:
        asyncio.run(postgres.drop_database(dsn))
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        ask(template, "SELECT 42")


@pytest.mark.parametrize(
    "dsn",
    ["postgresql://me@/old?host=%2Ftmp", "postgresql:///old?host=/tmp", "postgres://me:secret@127.0.0.1:5432/old"],
)
def test_dsn_of_another_database_differs_in_its_name_only(dsn: str) -> None:
    assert database_of(dsn) == "old"
    assert with_database(dsn, "new") == dsn.replace("old", "new")
