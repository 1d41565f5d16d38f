"""Commands that work on the ledger itself: its schema, its proof, and titles that were saved from it."""

import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import CliPositionalArg

from gateway.cli.shell import DONE, REFUSED, UsageError, print_json, refused, run_async, said
from gateway.process.config import DatabaseSettings
from gateway.process.lifecycle import database
from gateway.wire import minor_text
from market.partitions import STRIDE
from market.settlement.check import check
from market.settlement.embedded import dsn_of_running
from market.settlement.migrate import MigrationError, migrate
from market.settlement.replay import ReplayFailed, ReplayReport, replay_all
from market.settlement.title import BrokenTitle, Link, verify_title

HASHES = ("state_hash_log", "state_hash_tables")


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


class Replay(DatabaseCommand):
    """
    Apply the command log from empty and compare the state with that of the tables.

    Examples:
      debt-market replay --data-dir data/market
    """

    async def work(self, dsn: str) -> int:
        began = time.perf_counter()
        reports = await replay_all(dsn)
        seconds, is_ok = time.perf_counter() - began, all(report.ok for report in reports)
        told = [_told_of(report) for report in reports]
        partitions = {"partitions": told} if len(told) > 1 else {}
        answer = {"ok": is_ok, **told[0], "seconds": round(seconds, 3), **partitions}
        lines = [f"{name:<18} {each[name]}" for each in told for name in HASHES]
        commands = sum(report.seq % STRIDE for report in reports)
        verdict = "the same state" if is_ok else "NOT the same state"
        self.tell(answer, "\n".join([*lines, f"{commands:,} commands in {seconds:.1f} s: {verdict}"]))
        return DONE if is_ok else REFUSED


def _told_of(report: ReplayReport) -> dict[str, Any]:
    hashes = zip(HASHES, (report.state_hash_log.hex(), report.state_hash_tables.hex()), strict=True)
    return {"engine_seq": report.seq, **dict(hashes)}


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
