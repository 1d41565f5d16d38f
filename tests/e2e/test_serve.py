"""`debt-market serve` as outside programs meet it: ready file, signals, restarts, errors at start."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import aiohttp
import pytest

from gateway.client import ApiError, ApiKey, Client
from tests.service import COMMAND, debt_market, environment, running_service


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "market"


async def test_it_answers_as_the_ready_file_says_and_stops_cleanly(folder: Path) -> None:
    with running_service(folder, "--business-date", "2024-05-01") as service:
        ready_file = folder / "ready.json"
        assert stat.S_IMODE(ready_file.stat().st_mode) == 0o600
        assert service.ready["pid"] == service.process.pid
        assert service.ready["ws_url"] == service.url.replace("http", "ws") + "/ws/v2"
        async with service.client() as client:
            assert (await client.get("/v1/time"))["business_date"] == "2024-05-01"
            async with await client.socket() as live:
                assert live.greeting["system"] == "online"
                assert {"read", "transfer", "admin"} == set((await live.login())["scopes"])
                assert service.stop() == 0
        assert not ready_file.exists()
        assert not (folder / "data" / "postgres" / "postmaster.pid").exists()


async def test_a_second_start_goes_on_where_the_first_was(folder: Path) -> None:
    deposit = {"account_id": "A1", "currency": "USD", "amount": "12.34", "custody_ref": "bank-1"}
    with running_service(folder, "--business-date", "2024-05-01") as first:
        async with first.client() as client:
            await client.post("/v1/admin/accounts", {"account_id": "A1", "kind": "investor", "name": "A"})
            await client.post("/v1/admin/deposits", deposit)
        assert first.stop() == 0
    with running_service(folder, "--business-date", "2030-01-01") as second:
        assert second.key == first.key
        async with second.client() as client:
            assert (await client.get("/v1/time"))["business_date"] == "2024-05-01"
            status, _ = await client.request("POST", "/v1/admin/deposits", deposit)
            assert status == 200
            made = await client.post("/v1/admin/accounts/A1/api-keys", {"scopes": ["read"]})
        async with Client(second.url, ApiKey(made["key"], made["secret"])) as owner:
            cash = (await owner.get("/v1/balances"))["cash"]
            assert [(each["currency"], each["total"]) for each in cash] == [("USD", "12.34")]
        assert second.stop() == 0
    for command in ("check", "replay"):
        done = debt_market(command, "--data-dir", str(folder / "data"), "--json")
        assert done.returncode == 0, done.stdout + done.stderr


async def test_a_kill_leaves_no_orphan_and_loses_nothing(folder: Path) -> None:
    with running_service(folder) as first:
        async with first.client() as client:
            await client.post("/v1/admin/accounts", {"account_id": "A1", "kind": "investor", "name": "A"})
        postmaster = int((folder / "data" / "postgres" / "postmaster.pid").read_text().split()[0])
        first.process.kill()
        first.process.wait()
    with running_service(folder) as second:
        async with second.client() as client:
            account = {"account_id": "A1", "kind": "investor", "name": "A"}
            assert (await client.request("POST", "/v1/admin/accounts", account))[0] == 200
        assert not _runs(postmaster)
        assert second.stop(signal.SIGINT) == 0


def test_a_signal_during_the_start_is_a_clean_stop(folder: Path) -> None:
    command = [*COMMAND, "serve", "--embedded", "--data-dir", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment())
    assert process.stderr is not None
    deadline = time.monotonic() + 60
    while not (folder / "postgres.lock").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, process.stderr.read().decode()
    process.stderr.close()
    assert not (folder / "postgres" / "postmaster.pid").exists()


def test_a_taken_port_is_told_in_one_line_before_anything_is_touched(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = debt_market("serve", "--data-dir", str(folder), "--port", str(port))
    assert (done.returncode, done.stderr) == (1, f"debt-market: port {port} on 127.0.0.1 is in use\n")
    assert not folder.exists()


def test_a_data_folder_in_use_names_its_process(folder: Path) -> None:
    with running_service(folder) as service:
        done = debt_market("serve", "--data-dir", str(folder / "data"), "--port", "0")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert f"is in use by process {service.process.pid}" in done.stderr


def test_a_database_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    url = f"postgresql://nobody@/market?host={tmp_path}"
    done = debt_market("serve", "--port", "0", DEBT_MARKET_DATABASE_URL=url)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("debt-market: PostgreSQL at")
    assert "Traceback" not in done.stderr


def test_a_market_that_runs_can_be_checked(folder: Path) -> None:
    with running_service(folder) as service:
        for command in ("check", "replay"):
            done = debt_market(command, "--data-dir", str(folder / "data"))
            assert done.returncode == 0, done.stdout + done.stderr
        assert service.stop() == 0


def test_the_service_ends_when_its_postgres_does(folder: Path) -> None:
    with running_service(folder) as service:
        os.kill(int((folder / "data" / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        assert service.process.wait(60) == 1
        assert service.log.read_text().splitlines()[-1] == "debt-market: PostgreSQL stopped: its main process ended"
    with running_service(folder) as again:
        assert again.stop() == 0


async def test_it_runs_on_an_external_database(database: str, tmp_path: Path) -> None:
    """Two services on one database: the second waits for the lease and says who holds it, or takes it over."""
    ready_file = tmp_path / "ready.json"
    command = [*COMMAND, "serve", "--database-url", database, "--port", "0"]
    process = subprocess.Popen(
        [*command, "--ready-file", str(ready_file)], env=environment(), stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not ready_file.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        second = debt_market(*command[len(COMMAND) :], "--lease-wait-s", "0.2")
        assert second.returncode == 1
        assert f":{process.pid}" in second.stderr.splitlines()[-1]
        ready = json.loads(ready_file.read_text())
        ready_file.unlink()
        third = subprocess.Popen(
            [*command, "--ready-file", str(ready_file), "--lease-wait-s", "0.2", "--takeover"], env=environment()
        )
        try:
            while not ready_file.exists():
                assert third.poll() is None
                await asyncio.sleep(0.02)
            async with Client(json.loads(ready_file.read_text())["url"]) as client:
                assert (await client.get("/v1/status"))["epoch"] > 1
            async with Client(ready["url"], ApiKey(**ready["admin_key"])) as client:
                with pytest.raises((ApiError, aiohttp.ClientError)):
                    await client.post("/v1/admin/accounts", {"account_id": "A1", "kind": "investor"})
            assert process.wait(60) == 1
            third.terminate()
            assert third.wait(60) == 0
        finally:
            third.kill()
            third.wait()
    finally:
        process.kill()
        process.wait()


async def test_day_roll_moves_the_business_date(folder: Path) -> None:
    with running_service(folder, "--business-date", "2024-05-01") as service:
        flags = ["--url", service.url, "--key", str(service.key), "--json"]
        assert debt_market("day-roll", *flags).returncode == 0
        assert debt_market("day-roll", *flags, "--to", "2024-05-31").returncode == 0
        back = debt_market("day-roll", *flags, "--to", "2024-05-01")
        assert (back.returncode, "only moves forward" in back.stderr) == (1, True)
        async with service.client() as client:
            assert (await client.get("/v1/time"))["business_date"] == "2024-05-31"
            with pytest.raises(ApiError, match="invalid_arguments"):
                await client.post("/v1/admin/day-roll", {"to": "2024-05-30"})


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
