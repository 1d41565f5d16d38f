"""Import of a loan book: every row of a file registered through the public admin API, or refused by line and reason.

The file is read twice: once to the end before anything is sent, so that a broken file (or with `strict` a bad row)
imports nothing, then row by row, many calls under way at once so that the market commits them in groups. A loan is one
command: it is registered whole or not at all, and a second run finds it present.
Left out: what a row means (loanbook.py).
"""

import asyncio
import gzip
import hashlib
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, TextIO

import aiohttp

from gateway.client import ApiError, Client, decimal, loan_body, retried
from gateway.files.loanbook import Defaults, Format, LoanRow, Refusal, UnknownFormat, read
from market.ids import AccountId

GZIP_MAGIC = b"\x1f\x8b"
PREFIX_MAX = 24  # leaves room for a dash and seven digits in a loan id
STOPPING = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}


class FileRefused(Exception):
    """Nothing of this file can be imported; the message says why."""


class ImportStopped(Exception):
    """The market stopped answering or the key is not good: what was registered stays, a second run goes on."""


@dataclass(slots=True)
class Summary:
    """What became of a file. The counts and sums by status and currency are of accepted rows (imported or present)."""

    format: Format
    rows: int = 0
    imported: int = 0
    present: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    by_status: Counter[str] = field(default_factory=Counter)
    by_source_status: Counter[str] = field(default_factory=Counter)
    original_principal: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    outstanding_principal: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def accept(self, row: LoanRow, *, present: bool) -> None:
        terms = row.registration.terms
        self.present += present
        self.imported += not present
        self.by_status[row.registration.status] += 1
        self.by_source_status[row.source_status] += 1
        self.original_principal[terms.currency] += terms.original_principal
        self.outstanding_principal[terms.currency] += terms.outstanding_at_registration

    def as_json(self) -> dict[str, Any]:
        """The sums at the top are null if the file has more than one currency; `totals` has them by currency."""
        return {
            "format": self.format,
            "rows": self.rows,
            "imported": self.imported,
            "present": self.present,
            "refused": len(self.refusals),
            "by_status": dict(self.by_status.most_common()),
            "by_source_status": dict(self.by_source_status.most_common()),
            "original_principal": _only(self.original_principal),
            "outstanding_principal": _only(self.outstanding_principal),
            "totals": {
                currency: {
                    "original_principal": decimal(self.original_principal[currency]),
                    "outstanding_principal": decimal(self.outstanding_principal[currency]),
                }
                for currency in sorted(self.original_principal)
            },
            "refusals": [{"line": refusal.line, "reason": refusal.reason} for refusal in self.refusals],
        }

    def as_text(self) -> str:
        """The same for people, without the refusals."""
        lines = [f"{self.format}, {self.rows:,} rows"]
        outcomes = {"imported": self.imported, "present": self.present, "refused": len(self.refusals)}
        for title, counts in (
            ("", outcomes),
            ("as the source says", dict(self.by_source_status.most_common())),
            ("status here", dict(self.by_status.most_common())),
        ):
            lines += [f"{title}:"] if title else []
            lines += [f"  {word:<52}{count:>20,}" for word, count in counts.items()]
        for currency in sorted(self.original_principal):
            sums = {"original": self.original_principal[currency], "outstanding": self.outstanding_principal[currency]}
            lines.append(f"{currency}:")
            for title, amount in sums.items():
                lines.append(f"  {title + ' principal':<52}{decimal(amount, thousands=','):>20}")
        return "\n".join(lines)


@dataclass(slots=True)
class Survey:
    """A file read to its end: what its rows are, before any was sent."""

    format: Format
    rows: int
    refusals: list[Refusal]
    originators: list[AccountId]


Tick = Callable[[], None]


def file_prefix(path: Path) -> str:
    """Return how the ids of the loans in this file begin: its name without endings and a leading `loans`.

    A long name keeps its start and gets a few digits of its hash, so that two files never share ids.
    """
    name = re.sub("[^A-Z0-9._-]+", "-", re.sub(r"(\.csv)?(\.gz)?$", "", path.name, flags=re.IGNORECASE).upper())
    name = re.sub("^LOANS[._-]+", "", name).strip("._-") or "LOANS"
    if len(name) <= PREFIX_MAX:
        return name
    return f"{name[: PREFIX_MAX - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"


def survey(path: Path, defaults: Defaults) -> Survey:
    """Read a file to its end. Raises FileRefused."""
    with opened(path) as text:
        kind, rows = read(text, defaults)
        found = Survey(kind, 0, [], [])
        originators: dict[AccountId, None] = {}
        for row in rows:
            found.rows += 1
            if isinstance(row, Refusal):
                found.refusals.append(row)
            else:
                originators[row.registration.terms.originator] = None
        found.originators = list(originators)
        return found


def strict_refusal(found: Survey) -> Summary:
    """The outcome of a file that is refused whole for its bad rows."""
    return Summary(format=found.format, rows=found.rows, refusals=found.refusals)


async def run(
    path: Path,
    defaults: Defaults,
    found: Survey,
    client: Client | None,
    *,
    dry_run: bool,
    concurrency: int,
    on_row: Tick = lambda: None,
) -> Summary:
    """Register every good row of a file and return the totals. found: its survey.  on_row: called after each row.

    dry_run: nothing is changed; with a client the market is asked which loans it has already.
    Raises FileRefused, ImportStopped.
    """
    if client is not None and not dry_run:
        await _open_originators(client, found.originators)
    with opened(path) as text:
        kind, rows = read(text, defaults)
        summary = Summary(format=kind)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(1 if client is None else concurrency):
                    group.create_task(_work(rows, summary, client, dry_run, on_row))
        except* (aiohttp.ClientError, TimeoutError, ApiError) as e:
            raise ImportStopped(f"stopped after {summary.rows} rows: {_first(e)}") from e
    summary.refusals.sort(key=lambda refusal: refusal.line)
    return summary


async def _work(
    rows: Iterator[LoanRow | Refusal], summary: Summary, client: Client | None, dry_run: bool, on_row: Tick
) -> None:
    """Take the next row as long as there is one; the workers share the iterator."""
    for row in rows:
        summary.rows += 1
        if isinstance(row, Refusal):
            summary.refusals.append(row)
        else:
            await _register(row, summary, client, dry_run)
        on_row()


async def _register(row: LoanRow, summary: Summary, client: Client | None, dry_run: bool) -> None:
    try:
        if client is None:
            present = False
        elif dry_run:
            present = await _is_present(client, row.registration.terms.loan_id)
        else:
            body = loan_body(row.registration)
            status, _ = await retried(lambda: client.request("POST", "/v1/admin/loans", body))
            present = status != HTTPStatus.CREATED
    except ApiError as e:
        if e.status in STOPPING or (e.status or 500) >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        summary.refusals.append(Refusal(row.line, str(e)))
    else:
        summary.accept(row, present=present)


async def _is_present(client: Client, loan_id: str) -> bool:
    try:
        await retried(lambda: client.get(f"/v1/loans/{loan_id}"))
    except ApiError as e:
        if e.status != HTTPStatus.NOT_FOUND:
            raise
        return False
    return True


async def _open_originators(client: Client, originators: list[AccountId]) -> None:
    """Open the accounts that are not there yet; whether one that is may originate, the market says at its loans."""
    for originator in originators:
        body = {"account_id": originator, "kind": "originator", "name": originator, "reason": "loan import"}
        try:
            await retried(lambda body=body: client.post("/v1/admin/accounts", body))  # type: ignore[misc]
        except ApiError as e:
            if e.code != "duplicate_id":
                raise ImportStopped(f"account {originator}: {e}") from e
        except (aiohttp.ClientError, TimeoutError) as e:
            raise ImportStopped(f"no answer from {client.url}: {e}") from e


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """Open CSV or CSV.gz, told apart by content. Bytes that are not UTF-8 come as surrogates: their row is refused."""
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == GZIP_MAGIC
        opener: Any = gzip.open if is_gzip else open
        with opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            yield text
    except UnknownFormat as e:
        raise FileRefused(f"{path.name}: {e}") from e
    except (OSError, EOFError, zlib.error) as e:
        raise FileRefused(f"{path.name} can't be read: {e}") from e


def _only(sums: dict[str, int]) -> str | None:
    return decimal(sum(sums.values())) if len(sums) <= 1 else None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
