"""`debt-market service` against a running service."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.service import Service, debt_market, running_service

LOANS = """\
loan_id,currency,original_principal,annual_rate,repayment_method,term_months,issue_date
S-1,USD,10000.00,0.12,annuity,12,2024-01-15
S-2,USD,10000.00,0.12,annuity,12,2024-01-15
"""
HEADER = "event_id,loan_id,type,value_date,amount,principal,interest,costs,schedule\n"
GOOD = (
    HEADER
    + "e1,S-1,payment,2024-02-15,888.49,,,,\n"
    + "e2,S-1,payment,2024-03-15,888.49,796.37,92.12,,\n"
    + "e3,S-2,reschedule,2024-03-01,,,,,2024-09-01:300.00:4000.00;2025-03-01:200.00:6000.00\n"
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("servicing")
    with running_service(folder, "--business-date", "2024-05-01") as service:
        (folder / "loans.csv").write_text(LOANS)
        flags = ("--originator", "ORIG1", "--url", service.url, "--key", str(service.key))
        assert debt_market("import-loans", str(folder / "loans.csv"), *flags).returncode == 0
        yield service


def service_file(running: Service, file: Path, text: str, *flags: str) -> tuple[int, dict[str, Any]]:
    file.write_text(text)
    done = debt_market("service", str(file), "--url", running.url, "--key", str(running.key), "--json", *flags)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def outcomes(told: dict[str, Any]) -> list[str]:
    return [event["outcome"] for event in told["events"]]


async def test_a_file_is_booked_whole_and_once(running: Service, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    late = GOOD + "e4,S-9,payment,2024-02-15,1.00,,,,\n"
    code, told = service_file(running, file, late)
    assert (code, outcomes(told)) == (1, ["not_booked"] * 3 + ["refused"])
    assert told["events"][3]["line"] == 5
    assert "unknown_loan" in told["events"][3]["reason"]

    assert service_file(running, file, GOOD, "--dry-run")[0] == 0
    code, told = service_file(running, file, GOOD)
    assert (code, outcomes(told)) == (0, ["booked"] * 3)
    code, told = service_file(running, file, GOOD)
    assert (code, outcomes(told)) == (0, ["duplicate"] * 3)
    async with running.client() as client:
        assert (await client.get("/v1/loans/S-1"))["outstanding_principal"] == "8415.14"
        assert (await client.get("/v1/loans/S-2"))["maturity_date"] == "2025-03-01"


async def test_a_bad_row_stops_the_file_before_anything_is_sent(running: Service, tmp_path: Path) -> None:
    rows = ["f1,S-1,payment,2024-04-15,888.49,,,,", "f2,S-1,party,2024-04-15,1.00,,,,", "f3,S-1,payment,soon,1.00,,,,"]
    code, told = service_file(running, tmp_path / "bad.csv", HEADER + "\n".join(rows) + "\n")
    assert (code, outcomes(told)) == (1, ["not_booked", "refused", "refused"])
    assert [event.get("reason", "").partition(":")[0] for event in told["events"]] == ["", "type", "value_date"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("event_id,loan_id,type\n", "missing columns: value_date"),
        (HEADER.replace("costs", "cost"), "unknown columns: cost"),
        (HEADER, "has no rows"),
        ("event_id,event_id\n", "appears twice"),
    ],
)
def test_what_is_no_servicing_file_is_refused(running: Service, tmp_path: Path, text: str, reason: str) -> None:
    code, told = service_file(running, tmp_path / "no.csv", text)
    assert code == 1
    assert reason in told["error"]
