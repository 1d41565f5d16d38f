"""The debt-market command; `App` lists what it can do.

Each command is a class of settings, so that flags, DEBT_MARKET_* variables, .env and --help come from one place, with a
`run` that returns the exit code: 0 done, 1 refused with reasons, 2 wrong usage.
"""

import asyncio
import json
import logging
import re
import runpy
import sys
import time
from collections.abc import Coroutine
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
import uvloop
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliPositionalArg,
    CliSubCommand,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    get_subcommand,
)
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway import importing, servicing_file
from gateway.client import ApiError, ApiKey, Client
from gateway.config import DatabaseSettings, EnvSettings, Settings
from gateway.demo.run import DemoSettings, demo
from gateway.lifecycle import StartError, database
from gateway.loanbook import LOAN_ID, Defaults, Format
from gateway.serve import running_engine, running_gateway, running_standby, serve
from gateway.wire import minor_text
from market.ids import AccountId
from market.settlement.check import check
from market.settlement.embedded import dsn_of_running
from market.settlement.migrate import MigrationError, migrate
from market.settlement.replay import ReplayFailed, replay
from market.settlement.title import BrokenTitle, Link, verify_title

DONE, REFUSED, USAGE = 0, 1, 2
DEFAULT_URL = "http://127.0.0.1:8080"
BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

T = TypeVar("T")


class Serve(Settings):
    """
    Run the market: REST and WebSocket on one port, with a private PostgreSQL unless --database-url names another.

    Examples:
      debt-market serve                                    http://127.0.0.1:8080, data in ./data/market
      debt-market serve --embedded --data-dir D --port 0 --ready-file F
      debt-market serve --database-url postgresql://market@db/market --host 0.0.0.0
    """

    def run(self) -> int:
        set_up_logging(self.log_level)
        return run_async(serve(self))


class Engine(Settings):
    """
    Run the writing engine of a market by itself, joined to its gateways by Redis. One writes; a second does not start.

    Examples:
      debt-market engine --database-url postgresql://market@db/market --redis-url redis://redis:6379/0
    """

    def run(self) -> int:
        set_up_logging(self.log_level)
        return run_async(serve(self, running_engine))


class Standby(Settings):
    """
    Run an engine that waits until the writing one ends or goes silent, then takes over. The same settings as engine.

    Examples:
      debt-market standby --database-url postgresql://market@db/market --redis-url redis://redis:6379/0
    """

    def run(self) -> int:
        set_up_logging(self.log_level)
        return run_async(serve(self, running_standby))


class Gateway(Settings):
    """
    Run REST, WebSocket and page over an engine in another process. Any number of them serve one market.

    Examples:
      debt-market gateway --database-url postgresql://market@db/market --redis-url redis://redis:6379/0 --port 8081
    """

    def run(self) -> int:
        set_up_logging(self.log_level)
        return run_async(serve(self, running_gateway))


class Demo(DemoSettings):
    """
    Run a market to look at: a made-up loan book, and made-up traders who use the public API. No real money.

    Examples:
      debt-market demo
      debt-market demo --port 9000 --orders-per-s 200
    """

    def run(self) -> int:
        set_up_logging(self.log_level)
        return run_async(demo(self))


class ClientSettings(EnvSettings):
    """What a command needs that talks to a running market."""

    url: str | None = Field(default=None, description=f"where the market is (default: {DEFAULT_URL})")
    key: str | None = Field(default=None, repr=False, description="API key with the scope admin, KEY:SECRET")
    secret: str | None = Field(default=None, repr=False, description="the key's secret, if --key comes without it")
    as_json: bool = Field(default=False, alias="json", description="answer with one JSON object on standard output")

    @property
    def api_key(self) -> ApiKey | None:
        if self.key is None:
            return None
        return ApiKey(self.key, self.secret) if self.secret and ":" not in self.key else ApiKey.parse(self.key)

    @model_validator(mode="after")
    def _key_is_whole(self) -> Self:
        _ = self.api_key
        return self

    def client(self, connections_max: int = 1) -> Client:
        return Client(self.url or DEFAULT_URL, self.api_key, connections_max=connections_max)

    def require_key(self) -> None:
        if self.api_key is None:
            raise UsageError("--key KEY:SECRET is missing (or DEBT_MARKET_KEY and DEBT_MARKET_SECRET)")


class ImportLoans(ClientSettings):
    """
    Register the loans of a CSV or CSV.gz file: LendingClub's, or our own format (docs/import.md).

    Examples:
      debt-market import-loans loans.csv.gz --originator ORIG1 --dry-run
      debt-market import-loans loans.csv.gz --originator ORIG1 --url http://127.0.0.1:8080 --key KEY:SECRET
    """

    file: CliPositionalArg[Path] = Field(description="the loan book")
    originator: str | None = Field(
        default=None, description="account that gets the claims; opened if it does not exist"
    )
    id_prefix: str | None = Field(
        default=None, description="loan ids are PREFIX-<loan_no> (default: from the file's name)"
    )
    dry_run: bool = Field(default=False, description="check and count, send nothing")
    strict: bool = Field(default=False, description="let one bad row refuse the whole file")
    concurrency: int = Field(default=64, ge=1, le=1_000, description="calls under way at once")

    @field_validator("id_prefix")
    @classmethod
    def _prefix_can_begin_an_id(cls, prefix: str | None) -> str | None:
        if prefix is not None and not LOAN_ID.fullmatch(prefix):
            raise ValueError("must be 1 to 32 of A-Z 0-9 . _ -")
        return prefix

    def run(self) -> int:
        if not self.file.is_file():
            raise UsageError(f"there is no file {self.file}")
        if not self.dry_run:
            self.require_key()
        originator = None if self.originator is None else AccountId(self.originator)
        defaults = Defaults(
            originator=originator, id_prefix=self.id_prefix, file_prefix=importing.file_prefix(self.file)
        )
        try:
            found = importing.survey(self.file, defaults)
            if originator is None and found.format is not Format.GENERIC:
                raise UsageError("--originator is missing: the account that gets the claims")
            if self.strict and found.refusals:
                summary = importing.strict_refusal(found)
            else:
                summary = run_async(self._import(defaults, found))
        except (importing.FileRefused, importing.ImportStopped) as e:
            return refused(str(e), as_json=self.as_json)
        if self.as_json:
            print_json(summary.as_json())
        else:
            print(f"{self.file.name}{' (dry run)' if self.dry_run else ''}: {summary.as_text()}")
            for refusal in summary.refusals:
                print(f"line {refusal.line}: {refusal.reason}", file=sys.stderr)
        return REFUSED if summary.refusals else DONE

    async def _import(self, defaults: Defaults, found: importing.Survey) -> importing.Summary:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("Checking" if self.dry_run else "Registering", total=found.rows)
            client = None if self.dry_run and self.url is None else self.client(self.concurrency)
            if client is None:
                return await self._run(defaults, found, None, progress, bar)
            async with client:
                return await self._run(defaults, found, client, progress, bar)

    async def _run(
        self, defaults: Defaults, found: importing.Survey, client: Client | None, progress: Progress, bar: Any
    ) -> importing.Summary:
        return await importing.run(
            self.file,
            defaults,
            found,
            client,
            dry_run=self.dry_run,
            concurrency=self.concurrency,
            on_row=lambda: progress.advance(bar),
        )


class Service(ClientSettings):
    """
    Book a CSV or CSV.gz file of servicing events, the whole file or nothing of it (docs/servicing.md).

    Examples:
      debt-market service payments.csv --dry-run
      debt-market service payments.csv --url http://127.0.0.1:8080 --key KEY:SECRET
    """

    file: CliPositionalArg[Path] = Field(description="the events")
    dry_run: bool = Field(default=False, description="check the rows, send nothing")

    def run(self) -> int:
        if not self.file.is_file():
            raise UsageError(f"there is no file {self.file}")
        if not self.dry_run:
            self.require_key()
        try:
            rows = servicing_file.read(self.file)
            summary = servicing_file.Summary(rows) if self.dry_run else run_async(self._send(rows))
        except (importing.FileRefused, ApiError) as e:
            return refused(str(e), as_json=self.as_json)
        except (aiohttp.ClientError, TimeoutError) as e:
            return refused(f"no answer from {self.url or DEFAULT_URL}: {e}", as_json=self.as_json)
        if self.as_json:
            print_json(summary.as_json())
        else:
            print(f"{self.file.name}{' (dry run)' if self.dry_run else ''}: {summary.as_text()}")
            for row in summary.refusals:
                print(f"line {row.line}: {row.reason}", file=sys.stderr)
        return REFUSED if summary.refusals else DONE

    async def _send(self, rows: list[servicing_file.FileRow]) -> servicing_file.Summary:
        async with self.client() as client:
            return await servicing_file.send(rows, client)


class DayRoll(ClientSettings):
    """
    Move the market's business date forward, through every day in between.

    Examples:
      debt-market day-roll                    to the next day
      debt-market day-roll --to 2024-05-31
    """

    to: date | None = Field(default=None, description="the new business date (default: the next day)")
    reason: str | None = Field(default=None, description="recorded with the command")

    def run(self) -> int:
        self.require_key()
        try:
            answer = run_async(self._roll())
        except ApiError as e:
            return refused(str(e), as_json=self.as_json)
        except (aiohttp.ClientError, TimeoutError) as e:
            return refused(f"no answer from {self.url or DEFAULT_URL}: {e}", as_json=self.as_json)
        if self.as_json:
            print_json(answer)
        else:
            print(f"The business date is {answer['business_date']}.")
        return DONE

    async def _roll(self) -> dict[str, Any]:
        async with self.client() as client:
            to = self.to
            if to is None:
                to = date.fromisoformat((await client.get("/v1/time"))["business_date"]) + timedelta(days=1)
            body = {"to": to.isoformat()} | ({} if self.reason is None else {"reason": self.reason})
            return {"business_date": to.isoformat(), **await client.post("/v1/admin/day-roll", body)}


class DatabaseCommand(DatabaseSettings):
    """What a command needs that works on the database itself."""

    as_json: bool = Field(default=False, alias="json", description="answer with one JSON object on standard output")

    def run(self) -> int:
        try:
            return run_async(self._run())
        except (MigrationError, ReplayFailed) as e:
            return refused(str(e), as_json=self.as_json)

    async def _run(self) -> int:
        if self.database_url is None and (dsn := dsn_of_running(self.data_dir)) is not None:
            return await self.work(dsn)  # a market that runs can be looked at
        async with database(self) as dsn:
            return await self.work(dsn)

    async def work(self, dsn: str) -> int:
        raise NotImplementedError

    def tell(self, answer: dict[str, Any], text: str) -> None:
        if self.as_json:
            print_json(answer)
        else:
            print(text)


class Migrate(DatabaseCommand):
    """
    Bring a database to this version's schema. `serve` does so by itself.

    Examples:
      debt-market migrate --database-url postgresql://market@db/market
    """

    async def work(self, dsn: str) -> int:
        applied = await migrate(dsn, on_step=None if self.as_json else print)
        self.tell({"applied": applied}, f"{len(applied)} migrations applied.")
        return DONE


class Check(DatabaseCommand):
    """
    Verify a market from its tables alone: the log's hash chain and every conservation law.

    Examples:
      debt-market check --data-dir data/market
      debt-market check --database-url postgresql://market@db/market --json
    """

    async def work(self, dsn: str) -> int:
        report = await check(dsn)
        checks = [{"name": each.name, "ok": each.ok, "violations": list(each.violations)} for each in report.checks]
        answer = {"ok": report.ok, "engine_seq": report.seq, "log_head": report.log_head.hex(), "checks": checks}
        lines = [f"{'ok  ' if each.ok else 'FAIL'}  {each.name}" for each in report.checks]
        lines += [f"      {each.name}: {violation}" for each in report.checks for violation in each.violations]
        self.tell(answer, "\n".join([*lines, f"engine_seq {report.seq}, log head {report.log_head.hex()}"]))
        return DONE if report.ok else REFUSED


class TitlePage(BaseModel):
    """What is read of a saved page."""

    items: list[Link]


class VerifyTitle(BaseModel):
    """
    Verify a loan's chain of title from saved pages of /v1/loans/{id}/assignments, without a market (docs/register.md).

    Examples:
      debt-market verify-title title.json
      debt-market verify-title page-1.json page-2.json --json
    """

    files: CliPositionalArg[list[Path]] = Field(description="the pages, in order")
    as_json: bool = Field(default=False, alias="json", description="answer with one JSON object on standard output")

    def run(self) -> int:
        for file in self.files:
            if not file.is_file():
                raise UsageError(f"there is no file {file}")
        try:
            pages = [TitlePage.model_validate_json(file.read_bytes()) for file in self.files]
            title = verify_title(link for page in pages for link in page.items)
        except ValidationError as e:
            return refused(f"not a page of assignments: {said(e.errors()[0])}", as_json=self.as_json)
        except BrokenTitle as e:
            return refused(str(e), as_json=self.as_json)
        holders = {party: minor_text(face) for party, face in title.holders.items()}
        answer = {
            "loan_id": title.loan_id,
            "links": title.links,
            "head": title.head,
            "issued": minor_text(title.issued),
        }
        if self.as_json:
            print_json({**answer, "holders": holders})
        else:
            print("\n".join(f"{party} holds {face}" for party, face in holders.items()))
            print(f"{title.loan_id}: {title.links} links, {answer['issued']} issued, head {title.head}")
        return DONE


class Replay(DatabaseCommand):
    """
    Apply the command log from empty and compare the state with that of the tables.

    Examples:
      debt-market replay --data-dir data/market
    """

    async def work(self, dsn: str) -> int:
        began = time.perf_counter()
        report = await replay(dsn)
        seconds = time.perf_counter() - began
        hashes = {"state_hash_log": report.state_hash_log.hex(), "state_hash_tables": report.state_hash_tables.hex()}
        answer = {"ok": report.ok, "engine_seq": report.seq, **hashes, "seconds": round(seconds, 3)}
        lines = [f"{name:<18} {value}" for name, value in hashes.items()]
        verdict = "the same state" if report.ok else "NOT the same state"
        self.tell(answer, "\n".join([*lines, f"{report.seq:,} commands in {seconds:.1f} s: {verdict}"]))
        return DONE if report.ok else REFUSED


class Bench(BaseSettings):
    """
    Run one of the benchmarks that stand behind the claims of speed; --list names them.

    Examples:
      debt-market bench --list
      debt-market bench bulk_yields --smoke
    """


def bench(arguments: list[str]) -> int:
    """Run benchmarks/NAME.py with the arguments after its name, as if it had been started by itself."""
    scripts = {path.stem: path for path in sorted(BENCHMARKS.glob("[a-z]*.py"))}
    if arguments in ([], ["--list"]):
        print("\n".join(scripts) or f"no benchmarks in {BENCHMARKS}: they are in the source tree only")
        return DONE
    name = arguments[0].removesuffix(".py")
    if name not in scripts:
        raise UsageError(f"there is no benchmark {name}; there are {', '.join(scripts) or 'none'}")
    sys.argv = [str(scripts[name]), *arguments[1:]]
    sys.path.insert(0, str(BENCHMARKS))
    runpy.run_path(str(scripts[name]), run_name="__main__")
    return DONE


class App(BaseSettings):
    """
    debt-market: a secondary market for loan claims.

    Start with `debt-market demo`. Every setting is a flag, a variable DEBT_MARKET_<NAME>, or a line of .env, in this
    order. Exit codes: 0 done, 1 refused with reasons, 2 wrong usage.
    """

    model_config = SettingsConfigDict(
        cli_prog_name="debt-market",
        cli_kebab_case=True,
        cli_implicit_flags="toggle",
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_enforce_required=False,
    )

    serve: CliSubCommand[Serve] = Field(description="run the market")
    engine: CliSubCommand[Engine] = Field(description="run the engine alone, for gateways in other processes")
    standby: CliSubCommand[Standby] = Field(description="run an engine that takes over when the first one fails")
    gateway: CliSubCommand[Gateway] = Field(description="run a gateway over an engine in another process")
    demo: CliSubCommand[Demo] = Field(description="run a market with made-up loans and traders, to look at")
    import_loans: CliSubCommand[ImportLoans] = Field(description="register the loans of a CSV file")
    service: CliSubCommand[Service] = Field(description="book a CSV file of servicing events")
    day_roll: CliSubCommand[DayRoll] = Field(description="move the business date forward")
    migrate: CliSubCommand[Migrate] = Field(description="bring a database to this version's schema")
    check: CliSubCommand[Check] = Field(description="verify log, balances and positions from the tables")
    verify_title: CliSubCommand[VerifyTitle] = Field(description="verify a loan's chain of title from saved pages")
    replay: CliSubCommand[Replay] = Field(description="rebuild the state from the log and compare")
    bench: CliSubCommand[Bench] = Field(description="run a benchmark")

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls,
        _settings: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        **_: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags alone choose the command: an environment variable named DEMO is somebody else's."""
        return (init_settings,)


class UsageError(Exception):
    """The command line is wrong; the message says how."""


README_SETTINGS = (Settings, DemoSettings, ClientSettings)  # what README's table shows


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        sys.exit(run(given))
    except UsageError as e:
        fail(str(e), USAGE)
    except StartError as e:
        fail(str(e), REFUSED)
    except KeyboardInterrupt:
        sys.exit(130)  # as shells say: ended by SIGINT


def run(arguments: list[str]) -> int:
    """Return the exit code of a command line. Raises UsageError, StartError; SystemExit after --help."""
    if arguments[:1] == ["bench"] and not {"-h", "--help"} & set(arguments[1:2]):
        return bench(arguments[1:])
    try:
        command = get_subcommand(CliApp.run(App, cli_args=arguments or ["--help"]))
    except ValidationError as e:
        raise UsageError("; ".join(map(said, e.errors()))) from e
    assert isinstance(
        command,
        Serve | Engine | Standby | Gateway | Demo | ImportLoans | Service | DayRoll | VerifyTitle | DatabaseCommand,
    )
    return command.run()


def said(error: Any) -> str:
    """Return one validation error in the words of the command line."""
    names = [str(part) for part in error["loc"][1:]]
    flag = f"--{names[0].replace('_', '-')}: " if names else ""
    message = re.sub("^(Value|Assertion) error, ", "", error["msg"])
    return f"{flag}{message}" + (f" (was {error['input']!r})" if isinstance(error["input"], str) else "")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def set_up_logging(level: str) -> None:
    """Log to standard error, one line per fact: time in UTC, level, where, event and key=value pairs."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(level=level, handlers=[handler])


def refused(reason: str, *, as_json: bool) -> int:
    if as_json:
        print_json({"error": reason})
    print(f"debt-market: {reason}", file=sys.stderr)
    return REFUSED


def fail(reason: str, code: int) -> None:
    print(f"debt-market: {reason}", file=sys.stderr)
    sys.exit(code)


def print_json(answer: dict[str, Any]) -> None:
    print(json.dumps(answer, ensure_ascii=False))


if __name__ == "__main__":
    main()
