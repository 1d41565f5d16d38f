"""`debt-market import-loans` against a running service."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data import DATA_DIR, needs_data
from tests.service import Service, debt_market, running_service

GOOD = """\
loan_id,currency,original_principal,annual_rate,repayment_method,term_months,issue_date,outstanding_principal,status
CN-1,CNY,100000.00,0.096,interest_only,12,2024-04-30,100000.00,current
CN-2,CNY,48000.00,0.125,annuity,36,2022-11-15,30000.05,late
CN-3,CNY,5000.00,0.15,equal_principal,12,2023-01-15,0,repaid
"""
MIXED = GOOD + "CN-4,CNY,-1,0.1,annuity,12,2024-01-01,,\nCN-5,CNY,100.00,0.1,annuity,12,2024-01-01,,current\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_service(tmp_path_factory.mktemp("import"), "--business-date", "2024-05-01") as running:
        yield running


def import_loans(service: Service, file: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    done = debt_market("import-loans", str(file), "--url", service.url, "--key", str(service.key), "--json", *flags)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


async def test_a_file_is_imported_once(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "once.csv"
    file.write_text(GOOD)
    expected = {
        "format": "debt-market",
        "rows": 3,
        "imported": 3,
        "present": 0,
        "refused": 0,
        "by_status": {"current": 1, "late": 1, "repaid": 1},
        "original_principal": "153000.00",
        "outstanding_principal": "130000.05",
        "refusals": [],
    }
    flags = ("--originator", "ORIG1", "--id-prefix", "ONCE")
    dry_code, dry = import_loans(service, file, *flags, "--dry-run")
    assert (dry_code, {name: dry[name] for name in expected}) == (0, expected)
    code, first = import_loans(service, file, *flags)
    assert (code, {name: first[name] for name in expected}) == (0, expected)
    code, again = import_loans(service, file, *flags)
    assert (code, again["imported"], again["present"]) == (0, 0, 3)
    assert import_loans(service, file, *flags, "--dry-run")[1]["present"] == 3
    async with service.client() as client:
        loan = await client.get("/v1/loans/ONCE-CN-2")
        assert (loan["status"], loan["outstanding_principal"], loan["issued_face"]) == ("late", "30000.05", "48000.00")
        assert (await client.get("/v1/loans/ONCE-CN-3"))["issued_face"] == "0.00"


def test_a_bad_row_is_refused_alone(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "mixed.csv"
    file.write_text(MIXED)
    code, summary = import_loans(service, file, "--originator", "ORIG1", "--id-prefix", "MIXED")
    assert (code, summary["rows"], summary["imported"], summary["refused"]) == (1, 5, 4, 1)
    assert summary["refusals"] == [{"line": 5, "reason": "original_principal: '-1' is not a plain number"}]


def test_strict_refuses_the_file_before_anything_is_sent(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "strict.csv"
    file.write_text(MIXED)
    code, summary = import_loans(service, file, "--originator", "ORIG1", "--id-prefix", "STRICT", "--strict")
    assert (code, summary["rows"], summary["imported"], summary["refused"]) == (1, 5, 0, 1)
    _, dry = import_loans(service, file, "--originator", "ORIG1", "--id-prefix", "STRICT", "--dry-run")
    assert dry["present"] == 0


def test_a_loan_that_is_there_with_other_content_stays_as_it_is(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "changed.csv"
    file.write_text(GOOD)
    flags = ("--originator", "ORIG1", "--id-prefix", "CHANGED")
    assert import_loans(service, file, *flags)[0] == 0
    file.write_text(GOOD.replace("0.096", "0.097"))
    code, summary = import_loans(service, file, *flags)
    assert (code, summary["present"], summary["refused"]) == (1, 2, 1)
    assert summary["refusals"][0]["line"] == 2
    assert "duplicate_id" in summary["refusals"][0]["reason"]


def test_a_wrong_key_stops_the_import(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "once.csv"
    file.write_text(GOOD)
    flags = ["--originator", "ORIG1", "--url", service.url]
    done = debt_market("import-loans", str(file), *flags, "--key", f"{service.key.key}:nonsense")
    assert done.returncode == 1
    assert "auth_invalid_signature" in done.stderr
    assert debt_market("import-loans", str(file), *flags).returncode == 2
    changed = {"DEBT_MARKET_KEY": service.key.key, "DEBT_MARKET_SECRET": service.key.secret}
    assert debt_market("import-loans", str(file), *flags, "--id-prefix", "ENV", **changed).returncode == 0


@needs_data
async def test_the_live_book_of_2018_can_trade(service: Service) -> None:
    file = DATA_DIR / "loans_lendingclub_2018q1.csv.gz"
    code, summary = import_loans(service, file, "--originator", "LC", "--id-prefix", "LC18")
    assert (code, summary["imported"], summary["refused"]) == (0, 10_000, 0)
    assert summary["by_status"] == {"current": 9375, "repaid": 447, "late": 104, "grace": 67, "written_off": 7}
    assert (summary["original_principal"], summary["outstanding_principal"]) == ("163619225.00", "144589166.10")
    async with service.client() as client:
        audit = await client.get("/v1/audit")
        assert audit["loans"]["violations"] == []
        of_lc = next(each for each in audit["balance_coefficient"] if each["originator"] == "LC")
        assert of_lc["lent"] == summary["original_principal"]
