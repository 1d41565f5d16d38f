"""Commands that call a running market, as any other program does."""

import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

import aiohttp
from pydantic import Field, field_validator, model_validator
from pydantic_settings import CliPositionalArg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli.shell import DONE, REFUSED, UsageError, print_json, refused, run_async
from gateway.client import ApiError, ApiKey, Client
from gateway.files import importing, servicing_file
from gateway.files.loanbook import LOAN_ID, Defaults, Format
from gateway.process.config import EnvSettings
from market.ids import AccountId

DEFAULT_URL = "http://127.0.0.1:8080"


class ConnectionSettings(EnvSettings):
    """Where a running market is, and who asks it."""

    url: str | None = Field(default=None, description=f"where the market is (default: {DEFAULT_URL})")
    key: str | None = Field(
        default=None, repr=False, description="API key, KEY:SECRET; to run a market, of scope admin"
    )
    key_file: Path | None = Field(default=None, description="file with KEY:SECRET")
    secret: str | None = Field(default=None, repr=False, description="the key's secret, if --key comes without it")
    secret_file: Path | None = Field(default=None, description="file with the secret")

    @property
    def api_key(self) -> ApiKey | None:
        if self.key is None:
            return None
        return ApiKey(self.key, self.secret) if self.secret and ":" not in self.key else ApiKey.parse(self.key)

    @model_validator(mode="after")
    def _key_is_whole(self) -> Self:
        _ = self.api_key
        return self

    def require_key(self) -> None:
        if self.api_key is None:
            raise UsageError("--key KEY:SECRET is missing (or DEBT_MARKET_KEY and DEBT_MARKET_SECRET)")


class ClientSettings(ConnectionSettings):
    """What a command needs that asks a running market and ends."""

    as_json: bool = Field(default=False, alias="json", description="answer with one JSON object on standard output")

    def client(self, connections_max: int = 1) -> Client:
        return Client(self.url or DEFAULT_URL, self.api_key, connections_max=connections_max)


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
