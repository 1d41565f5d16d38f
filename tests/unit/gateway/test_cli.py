"""The command line: usage errors, help, what needs no market."""

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import main


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    code = ended.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEBT_MARKET_KEY", raising=False)
    monkeypatch.delenv("DEBT_MARKET_SECRET", raising=False)


def test_a_url_that_is_wrong_is_not_repeated_for_it_may_have_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("gateway", "--redis-url", "redis+cluster://:s3cret@a:1,,b:2") == 2
    said = capsys.readouterr().err
    assert "--redis-url: the URL of a Redis Cluster names its nodes" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["nonsense"], "invalid choice: 'nonsense'", id="unknown command"),
        pytest.param(["serve", "--nonsense"], "unrecognized arguments: --nonsense", id="unknown flag"),
        pytest.param(["serve", "--port", "x"], "--port: ", id="not a number"),
        pytest.param(["serve", "--embedded", "--database-url", "x"], "exclude each other", id="two databases"),
        pytest.param(["import-loans"], "FILE", id="no file"),
        pytest.param(["import-loans", "none.csv", "--dry-run"], "there is no file none.csv", id="file not there"),
        pytest.param(["import-loans", "__FILE__"], "--key KEY:SECRET is missing", id="no key"),
        pytest.param(["import-loans", "__FILE__", "--key", "k"], "KEY:SECRET", id="half a key"),
        pytest.param(["import-loans", "__FILE__", "--dry-run", "--id-prefix", "a b"], "--id-prefix", id="prefix"),
        pytest.param(["import-loans", "__FILE__", "--dry-run"], "--originator is missing", id="no originator"),
        pytest.param(["day-roll"], "--key KEY:SECRET is missing", id="day-roll without key"),
        pytest.param(["bench", "nonsense"], "there is no benchmark nonsense", id="unknown benchmark"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    header = "loan_no,loan_amount,term,interest_rate,issue_month,loan_status,balance\n"
    (tmp_path / "loans.csv").write_text(header)
    assert exit_code(*(argument.replace("__FILE__", "loans.csv") for argument in arguments)) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "demo",
        "import-loans",
        "service",
        "terminal",
        "day-roll",
        "migrate",
        "check",
        "verify-title",
        "replay",
        "bench",
    ],
)
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(command, "--help") == 0
    assert f"debt-market {command}" in capsys.readouterr().out.partition("Examples:")[2]


def test_no_command_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code() == 0
    assert "Start with `debt-market demo`" in capsys.readouterr().out


def test_a_file_that_is_no_loan_book_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert exit_code("import-loans", "other.csv", "--dry-run", "--json", "--originator", "O") == 1
    assert "the header is neither" in json.loads(capsys.readouterr().out)["error"]


def test_a_cut_off_file_is_refused_whole(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rng = random.Random(1)
    header = "loan_id,currency,original_principal,annual_rate,repayment_method,term_months,issue_date\n"
    rows = (
        f"L{n},USD,{rng.randint(1, 10**9)}.00,0.{rng.randint(1, 9999)},annuity,12,2024-01-01\n" for n in range(5_000)
    )
    packed = gzip.compress((header + "".join(rows)).encode())
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    assert exit_code("import-loans", "cut.csv.gz", "--dry-run", "--originator", "O") == 1
    assert "cut.csv.gz can't be read" in capsys.readouterr().err


def test_benchmarks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("bench", "--list") == 0
    assert "bulk_yields" in capsys.readouterr().out.split()


def test_the_terminal_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "textual", None)
    assert exit_code("terminal", "--key", "k:s") == 2
    assert "pip install 'debt-market[tui]'" in capsys.readouterr().err


def test_no_other_command_needs_the_terminals_library() -> None:
    program = "import sys, gateway.cli.app; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_key_may_come_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is taken: what is wrong is that nobody answers."""
    (tmp_path / "key").write_text("ak_1:secret\n")
    assert exit_code("day-roll", "--url", "http://127.0.0.1:9", "--key-file", "key") == 1
    assert "no answer from http://127.0.0.1:9" in capsys.readouterr().err
    (tmp_path / "key").write_text("nonsense")
    for arguments in (["--key-file", "key"], ["--key-file", "none"]):
        assert exit_code("terminal", *arguments) == 2
    assert "can't be read" in capsys.readouterr().err
