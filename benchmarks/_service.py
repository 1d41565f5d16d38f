"""What benchmarks share: the service in a process of its own, and an account with loans to trade."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.client import ApiKey, Client

Json = dict[str, Any]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
LOAN: Json = {
    "originator": "MM",
    "currency": "USD",
    "original_principal": "10000.00",
    "issued_face": "10000.00",
    "annual_rate": "0.12",
    "repayment_method": "annuity",
    "term_months": 36,
    "issue_date": "2024-01-15",
    "first_due_date": "2024-02-15",
}


@dataclass(frozen=True, slots=True)
class Service:
    url: str
    admin_key: ApiKey
    pid: int


@contextmanager
def served(*flags: str) -> Iterator[Service]:
    """Run `debt-market serve` with a durable private PostgreSQL as long as the context lasts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 1 << 16)), hard))  # a thousand sockets and more
    with tempfile.TemporaryDirectory() as folder:
        ready_file = Path(folder) / "ready.json"
        fixed = ["--data-dir", f"{folder}/data", "--port", "0", "--ready-file", str(ready_file)]
        command = [sys.executable, "-m", "gateway.cli", "serve", "--embedded", *fixed, "--log-level", "WARNING", *flags]
        ours = {name: value for name, value in os.environ.items() if not name.startswith("DEBT_MARKET_")}
        process = subprocess.Popen([*command, "--business-date", "2024-01-15"], env=ours)
        try:
            ready = _ready(process, ready_file)
            yield Service(ready["url"], ApiKey(**ready["admin_key"]), ready["pid"])
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ready(process: subprocess.Popen[bytes], ready_file: Path) -> Json:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the service did not start (exit code {process.poll()})")
        time.sleep(0.02)
    found: Json = json.loads(ready_file.read_text())
    return found


async def market_maker(url: str, admin_key: ApiKey, loans: int) -> Client:
    """Return a client of the account MM with cash and all of the loans B-0, B-1, ..."""
    async with Client(url, admin_key) as admin:
        await admin.post("/v1/admin/accounts", {"account_id": "MM", "kind": "originator"})
        await _deposit(admin, "MM")
        for i in range(loans):
            await admin.post("/v1/admin/loans", LOAN | {"loan_id": f"B-{i}"})
        return await _client_of(admin, "MM")


async def investor(url: str, admin_key: ApiKey) -> Client:
    """Return a client of the account INV with cash."""
    async with Client(url, admin_key) as admin:
        await admin.post("/v1/admin/accounts", {"account_id": "INV", "kind": "investor"})
        await _deposit(admin, "INV")
        return await _client_of(admin, "INV")


async def _deposit(admin: Client, account_id: str) -> None:
    cash = {"account_id": account_id, "currency": "USD", "amount": "100000000.00", "custody_ref": f"first-{account_id}"}
    await admin.post("/v1/admin/deposits", cash)


async def _client_of(admin: Client, account_id: str) -> Client:
    made = await admin.post(f"/v1/admin/accounts/{account_id}/api-keys", {"scopes": ["read", "trade"]})
    return Client(admin.url, ApiKey(made["key"], made["secret"]))
