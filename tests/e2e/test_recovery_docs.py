"""The programs of docs/recovery.md, run as they stand: as processes of their own, against the service."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.client import ApiKey
from market.commands import CancelAll
from market.ids import AccountId
from tests.builders import buy, sell
from tests.e2e.stack import Stack
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "recovery.md").read_text(), re.DOTALL)


@asynccontextmanager
async def running(
    program: str, stack: Stack, key: ApiKey, **more: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
    """A program of the page and what it prints; ended at the end."""
    environment = {"MARKET_URL": stack.url, "MARKET_KEY": key.key, "MARKET_SECRET": key.secret, **more}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env={**os.environ, **environment}, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line(output: asyncio.StreamReader) -> str:
    async with asyncio.timeout(PATIENCE_S):
        return (await output.readline()).decode().strip()


async def test_a_follower_books_every_fill_once(stack: Stack, tmp_path: Path) -> None:
    """Through a connection that the market closes, and through a time in which it does not run."""
    key = await stack.investor("B")
    kept = tmp_path / "kept"

    async def trade(price: int) -> None:
        await stack.do(sell("ORIG", price, 10_00), buy("B", price, 10_00))

    await trade(9_800)
    async with running(PROGRAMS[0], stack, key, KEPT_FILE=str(kept)) as (_, output):
        assert await line(output) == "T-1 buy 10.00 98.00 0.00"
        await trade(9_810)
        assert await line(output) == "T-2 buy 10.00 98.10 0.00"
        stack.hub.close_all(1012, "the service restarts")
        await trade(9_820)
        assert await line(output) == "T-3 buy 10.00 98.20 0.00"
        async with asyncio.timeout(PATIENCE_S):  # killed before, it would tell this one again
            while kept.read_text() != str(stack.views.account(AccountId("B")).exec_seq):
                await asyncio.sleep(0.01)
    await trade(9_830)
    async with running(PROGRAMS[0], stack, key, KEPT_FILE=str(kept)) as (_, output):
        assert await line(output) == "T-4 buy 10.00 98.30 0.00"


async def test_an_order_is_placed_once_or_never(stack: Stack) -> None:
    key = await stack.investor("B")
    account = stack.views.account(AccountId("B"))
    for outcome in ("'duplicate': False", "'duplicate': True"):
        async with running(PROGRAMS[1], stack, key, MARKET_SYMBOL="L1/USD") as (process, output):
            told = await line(output)
            assert "'cl_ord_id': 'recovery-1'" in told
            assert outcome in told
            assert await line(output) == "None"
            assert await process.wait() == 0
        assert len(account.open_orders) == 1
    await stack.do(CancelAll(account_id=AccountId("B")))
