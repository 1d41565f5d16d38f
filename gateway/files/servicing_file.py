"""Servicing files: a CSV of events, booked whole or not at all through the public admin API, with a report per row.

The columns are those of `POST /v1/admin/servicing` (docs/servicing.md). Every row is checked here first; then the file
is one call, and so one command of the market; in a market of several partitions of loans it is one for each partition.
A row that was booked before counts as a duplicate: running a file again is harmless.
Left out: what an event does to a loan (market/claims/servicing.py).
"""

import csv
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import aiohttp

from gateway.client import ApiError, Client, retried
from gateway.files.importing import FileRefused, opened
from gateway.requests.loans import ServicingBody
from market.errors import MarketError

REQUIRED = frozenset({"event_id", "loan_id", "type", "value_date"})
OPTIONAL = frozenset({"amount", "principal", "interest", "costs", "schedule", "reason"})
PATH = "/v1/admin/servicing"


class RowOutcome(StrEnum):
    BOOKED = "booked"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    NOT_BOOKED = "not_booked"  # good itself, but another row was refused


@dataclass(slots=True)
class FileRow:
    """line: where the row begins, the header is line 1.  body: the event, as the API takes it."""

    line: int
    body: dict[str, Any]
    outcome: RowOutcome = RowOutcome.NOT_BOOKED
    reason: str | None = None

    def refuse(self, reason: str) -> None:
        self.outcome, self.reason = RowOutcome.REFUSED, reason

    def as_json(self) -> dict[str, Any]:
        shown = {"line": self.line, "event_id": self.body.get("event_id"), "outcome": self.outcome}
        return shown if self.reason is None else {**shown, "reason": self.reason}


@dataclass(slots=True)
class Summary:
    rows: list[FileRow]
    engine_seq: int | None = None

    def count(self, outcome: RowOutcome) -> int:
        return sum(row.outcome is outcome for row in self.rows)

    @property
    def refusals(self) -> list[FileRow]:
        return [row for row in self.rows if row.outcome is RowOutcome.REFUSED]

    def as_json(self) -> dict[str, Any]:
        counts = {outcome.value: self.count(outcome) for outcome in RowOutcome}
        rows = [row.as_json() for row in self.rows]
        return {"rows": len(self.rows), **counts, "engine_seq": self.engine_seq, "events": rows}

    def as_text(self) -> str:
        counts = ", ".join(f"{self.count(outcome)} {outcome.replace('_', ' ')}" for outcome in RowOutcome)
        return f"{len(self.rows)} rows: {counts}"


def read(path: Path) -> list[FileRow]:
    """Read a CSV or CSV.gz file and check each row by itself. Raises FileRefused if it is no servicing file."""
    with opened(path) as text:
        reader = csv.reader(text, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            rows, line = [], 2
            for cells in reader:
                if cells:
                    rows.append(_row(header, cells, line))
                line = reader.line_num + 1
        except csv.Error as e:
            raise FileRefused(f"{path.name}, line {reader.line_num}: not CSV: {e}") from e
    if not rows:
        raise FileRefused(f"{path.name} has no rows")
    return rows


async def send(rows: list[FileRow], client: Client) -> Summary:
    """Have the market book the rows, all or none; nothing is sent if one was refused already.

    Where their loans are of several partitions it is all or none of each, up to the first that is refused or does not
    answer, whose rows say so: what is of the others may be booked by then.

    Raises ApiError for a refusal of the whole call (key, size), aiohttp.ClientError or TimeoutError without an answer.
    """
    summary = Summary(rows)
    if summary.refusals:
        return summary
    try:
        await _send(rows, client, summary)
    except ApiError as e:
        if (partitions := e.body.get("partitions")) is None:
            raise
        for part in _by_partition(rows, partitions):
            if not summary.refusals:
                try:
                    await _send(part, client, summary)
                except (ApiError, aiohttp.ClientError, TimeoutError) as e:
                    for row in part:
                        row.refuse(str(e) or "no answer")
    return summary


async def _send(rows: list[FileRow], client: Client, summary: Summary) -> None:
    """Send rows in one call, and note what became of each. Raises ApiError for a refusal that is of no row."""
    try:
        _, answer = await retried(lambda: client.request("POST", PATH, {"events": [row.body for row in rows]}))
    except ApiError as e:
        row = _named_by(e, rows)
        if row is None or "partitions" in e.body:
            raise
        row.refuse(str(e))
        return
    for row, item in zip(rows, answer["items"], strict=True):
        row.outcome = RowOutcome.DUPLICATE if item["duplicate"] else RowOutcome.BOOKED
    summary.engine_seq = answer["engine_seq"]


def _by_partition(rows: list[FileRow], partitions: str) -> list[list[FileRow]]:
    """Return the rows of each partition. partitions: of each row, as the refusal says."""
    parts: dict[str, list[FileRow]] = {}
    for row, partition in zip(rows, partitions.split(), strict=True):
        parts.setdefault(partition, []).append(row)
    return list(parts.values())


def _named_by(error: ApiError, rows: list[FileRow]) -> FileRow | None:
    """Return the row that a refusal names; a file of one row needs no name."""
    if (index := error.body.get("index")) is not None:
        return rows[int(index)]
    is_about_content = error.status in (404, 409, 422)
    return rows[0] if len(rows) == 1 and is_about_content else None


def _check_header(path: Path, header: list[str]) -> None:
    columns = set(header)
    if len(columns) != len(header):
        raise FileRefused(f"{path.name}: a column appears twice in the header")
    if missing := sorted(REQUIRED - columns):
        raise FileRefused(f"{path.name}: missing columns: {', '.join(missing)}")
    if unknown := sorted(columns - REQUIRED - OPTIONAL):
        raise FileRefused(f"{path.name}: unknown columns: {', '.join(unknown)}")


def _row(header: list[str], cells: list[str], line: int) -> FileRow:
    """An empty cell says nothing: the market's rules decide."""
    named = dict(zip(header, map(str.strip, cells), strict=False))
    row = FileRow(line, {name: cell for name, cell in named.items() if cell})
    if len(cells) != len(header):
        row.refuse(f"{len(cells)} cells under {len(header)} columns")
    elif any("\ud800" <= character <= "\udfff" for cell in cells for character in cell):
        row.refuse("not UTF-8")
    else:
        if (schedule := row.body.get("schedule")) is not None:
            row.body["schedule"] = [_schedule_row(part) for part in schedule.split(";")]
        try:
            ServicingBody.parse(row.body).to_event()
        except MarketError as e:
            row.refuse(str(e))
    return row


def _schedule_row(text: str) -> dict[str, str]:
    """`due_date:interest:principal`; what is no such thing is left for the check of its fields."""
    return dict(zip(("due_date", "interest", "principal"), map(str.strip, text.split(":", 2)), strict=False))
