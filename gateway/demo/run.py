"""The demo: the service, the made-up book and the made-up traders in one process, from the first start to Ctrl-C.

What a first run sets up is kept: loans and accounts in the data folder's database, the traders' keys beside it in
`demo.json` (mode 0600). A later run finds both and trades on at once. Setting up is idempotent, so that a run which was
stopped in the middle is finished by the next.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gateway.client import ApiError, ApiKey, Client, decimal, loan_body, retried
from gateway.demo.book import ORIGINATORS, seeded_book
from gateway.demo.curve import Curve
from gateway.demo.market_maker import CurveMaker
from gateway.demo.traders import Investor, Listed, MarketMaker, Originator, Tally, Trader, listed_loans
from gateway.process.config import Settings
from gateway.process.lifecycle import Running, stop_on_signals, write_private
from gateway.process.serve import running_service
from market.settlement.journal import HOUSE

SETUP_CONCURRENCY = 32
MARKET_MAKERS = ("MM-1", "MM-2")
SELLERS = ("SELLER-1", "SELLER-2", "SELLER-3")
BUYERS = ("BUYER-1", "BUYER-2", "BUYER-3", "BUYER-4")
VISITOR = "VISITOR"  # nobody's: for whoever looks at the demo to trade with
LOGINS = {"visitor": (VISITOR, ["read", "trade"]), "operator": (HOUSE, ["read", "transfer", "admin"])}
CASH = {  # in minor units
    "market_maker": {"CNY": 200_000_000_00, "USD": 10_000_000_00},
    "investor": {"CNY": 20_000_000_00, "USD": 1_000_000_00},
}
SHARE_OF_ORDERS = {"market_maker": 0.70, "investor": 0.25, "originator": 0.05}

Call = Callable[[], Awaitable[object]]


class DemoSettings(Settings):
    """Settings of the demo, beside those of the service."""

    data_dir: Path = Field(
        default=Path("data/demo"), description="where the demo's market and the traders' keys are kept"
    )
    log_level: str = Field(
        default="WARNING", description="DEBUG, INFO, WARNING or ERROR; log lines go to standard error"
    )
    allow_signup: bool = Field(default=True, description="let strangers open an investor's account with a password")
    signup_cash: str = Field(
        default="CNY:1000000.00,USD:100000.00",
        description="simulated cash of everybody who signs up, such as CNY:100000.00,USD:10000.00",
    )
    loans: int = Field(default=2_000, ge=1, le=99_999, description="loans of the made-up book (first run)")
    seed: int = Field(default=1, description="makes another book and other traders")
    quoted_loans: int = Field(default=120, ge=1, description="loans that the traders trade in")
    orders_per_s: float = Field(default=60.0, gt=0, le=5_000, description="orders of all traders together, per second")
    duration_s: float | None = Field(default=None, gt=0, description="stop after so many seconds (default: at Ctrl-C)")


async def demo(settings: DemoSettings) -> int:
    """Run until SIGINT, SIGTERM or the end of `duration_s`; return the exit code. Raises StartError."""
    console = Console(highlight=False)
    task = asyncio.create_task(_demo(settings, console))
    stop_on_signals(task)
    try:
        await task
    except asyncio.CancelledError:
        console.print("\nStopped. The market is kept in", str(settings.data_dir))
    return 0


async def _demo(settings: DemoSettings, console: Console) -> None:
    async with running_service(settings) as service:
        async with Client(service.url, service.admin_key, connections_max=SETUP_CONCURRENCY) as admin:
            keys = await _set_up(admin, settings, console)
            passwords = await _let_in(admin, settings)
            loans = await listed_loans(admin, count=settings.quoted_loans, seed=settings.seed)
        _introduce(service, keys, passwords, settings, console)
        tally = Tally()
        traders = _traders(service.url, keys, loans, tally, settings)
        try:
            async with asyncio.timeout(settings.duration_s), asyncio.TaskGroup() as group:
                for trader in traders:
                    group.create_task(trader.run(), name=trader.name)
                group.create_task(_report(traders, tally, console))
        except TimeoutError:
            refused = ", ".join(f"{code} {count}" for code, count in tally.refused.most_common()) or "none"
            console.print(f"\nDone. Refused orders: {refused}.")


async def _set_up(admin: Client, settings: DemoSettings, console: Console) -> dict[str, ApiKey]:
    """Return the traders' keys, after opening their accounts and registering the book if that was not done yet."""
    file = settings.data_dir / "demo.json"
    if file.exists():
        return {account: ApiKey(**key) for account, key in json.loads(file.read_text())["keys"].items()}
    today = date.fromisoformat((await admin.get("/v1/time"))["business_date"])
    names = {name: title for titles in ORIGINATORS.values() for name, title in titles.items()}
    kinds = dict.fromkeys(names, "originator") | dict.fromkeys(MARKET_MAKERS, "market_maker")
    kinds |= dict.fromkeys((*SELLERS, *BUYERS, VISITOR), "investor")
    accounts = [{"account_id": name, "kind": kind, "name": names.get(name, name)} for name, kind in kinds.items()]
    deposits = [
        {"account_id": name, "currency": currency, "amount": decimal(amount), "custody_ref": f"demo-{name}-{currency}"}
        for name, kind in kinds.items()
        for currency, amount in CASH.get(kind, {}).items()
    ]
    bodies = [loan_body(each) for each in seeded_book(settings.loans, seed=settings.seed, today=today)]
    with _progress(console) as progress:
        await _do_all(_posts(admin, "/v1/admin/accounts", accounts), progress, "Opening accounts")
        await _do_all(_posts(admin, "/v1/admin/deposits", deposits), progress, "Depositing (simulated) money")
        await _do_all(_posts(admin, "/v1/admin/loans", bodies), progress, "Registering loans")
    keys = {name: await _new_key(admin, name) for name in kinds}
    content = {"keys": {name: asdict(key) for name, key in keys.items()}}
    write_private(file, json.dumps(content, indent=1) + "\n")
    return keys


async def _let_in(admin: Client, settings: DemoSettings) -> dict[str, str]:
    """Return the password of each who may sign in, by login. They are kept before they are used."""
    file = settings.data_dir / "demo.json"
    content = json.loads(file.read_text())
    if "passwords" not in content:
        content["passwords"] = {login: f"{secrets.token_hex(3)}-{secrets.token_hex(3)}" for login in LOGINS}
        write_private(file, json.dumps(content, indent=1) + "\n")
    passwords: dict[str, str] = content["passwords"]
    for login, (account, scopes) in LOGINS.items():
        body = {"login": login, "password": passwords[login], "account_id": account, "scopes": scopes}
        try:
            await admin.post("/v1/admin/users", body)
        except ApiError as e:
            if e.code != "duplicate_id":  # made by an earlier run
                raise
    return passwords


def _posts(admin: Client, path: str, bodies: Iterable[Mapping[str, object]]) -> list[Call]:
    def post(body: Mapping[str, object]) -> Call:
        return lambda: retried(lambda: admin.post(path, dict(body)))

    return [post(body) for body in bodies]


async def _new_key(admin: Client, account: str) -> ApiKey:
    made = await admin.post(f"/v1/admin/accounts/{account}/api-keys", {"scopes": ["read", "trade"]})
    return ApiKey(made["key"], made["secret"])


async def _do_all(calls: Sequence[Call], progress: Progress, title: str) -> None:
    """Make every call, some at a time. The first failure ends it."""
    shown = progress.add_task(title, total=len(calls))
    waiting = iter(calls)

    async def work() -> None:
        for call in waiting:
            await call()
            progress.advance(shown)

    async with asyncio.TaskGroup() as group:
        for _ in range(SETUP_CONCURRENCY):
            group.create_task(work())


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<30}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console)


def _traders(
    url: str, keys: dict[str, ApiKey], loans: list[Listed], tally: Tally, settings: DemoSettings
) -> list[Trader]:
    def named(name: str, group: str, members: int) -> dict[str, Any]:
        rate = settings.orders_per_s * SHARE_OF_ORDERS[group] / members
        return {
            "url": url,
            "key": keys[name],
            "name": name,
            "loans": loans,
            "tally": tally,
            "rate": rate,
            "seed": settings.seed,
        }

    originators = [name for name in keys if any(name in titles for titles in ORIGINATORS.values())]
    investors = dict.fromkeys(SELLERS, 0.25) | dict.fromkeys(BUYERS, 0.75)
    return [
        MarketMaker(**named(MARKET_MAKERS[0], "market_maker", len(MARKET_MAKERS))),
        CurveMaker(curve=Curve.of(loans), **named(MARKET_MAKERS[1], "market_maker", len(MARKET_MAKERS))),
        *(Originator(**named(name, "originator", len(originators))) for name in originators),
        *(Investor(leaning=buys, **named(name, "investor", len(investors))) for name, buys in investors.items()),
    ]


def _introduce(
    service: Running, keys: dict[str, ApiKey], passwords: dict[str, str], settings: DemoSettings, console: Console
) -> None:
    console.print(
        f"\n[bold]The market is open at {service.url}[/bold] (simulated loans, traders and money)\n", soft_wrap=True
    )
    for what, where in (
        ("the board", f"{service.url}/v1/loans"),
        ("one loan's book", f"{service.url}/v1/loans/DM-00001/book"),
        ("live data", service.ws_url),
        ("metrics", f"{service.url}/metrics"),
        ("the demo's data", f"{settings.data_dir}; remove it to start anew"),
    ):
        console.print(f"  {what:<16} {where}", soft_wrap=True)
    console.print(f"\n  {'account':<16} {'API key':<28} secret")
    for account, key in {"HOUSE (admin)": service.admin_key, **keys}.items():
        console.print(f"  {account:<16} {key.key:<28} {key.secret}", soft_wrap=True)
    console.print(f"\n  {'login':<16} password")
    for login, password in passwords.items():
        console.print(f"  {login:<16} {password}", soft_wrap=True)
    console.print(f"\n{VISITOR} has cash and is yours to trade with. Ctrl-C stops the market.\n")


async def _report(traders: Sequence[Trader], tally: Tally, console: Console) -> None:
    """Print one line a second; on a terminal it replaces the one before."""
    end = "\r" if console.is_terminal else "\n"
    before, began = tally.orders, time.perf_counter()
    while True:
        await asyncio.sleep(1.0)
        now = time.perf_counter()
        rate = (tally.orders - before) / (now - began)
        before, began = tally.orders, now
        open_orders = sum(len(trader.orders) for trader in traders)
        line = (
            f"{time.strftime('%H:%M:%S')}  {rate:6.1f} orders/s  {tally.trades:8,} trades  "
            f"{open_orders:6,} open orders  p99 ack {tally.p99_s() * 1_000:7.1f} ms"
        )
        console.print(line, end=end, soft_wrap=True)
        tally.adapt()
