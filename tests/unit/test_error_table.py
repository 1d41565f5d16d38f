"""docs/errors.md: its table is made from the one table of answers, so it can't say anything else."""

from pathlib import Path

from gateway.errors import ANSWERS
from gateway.facade.words import KNOWN
from market.errors import MarketError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
INTERNAL = "| `internal` | 500 | unknown | no | | | The service failed for a reason of its own. |"


def table() -> str:
    rows = ["| code | HTTP | outcome | retry | `error` on the socket | first text under `/0/` | what it says |"]
    rows.append("|---|---|---|---|---|---|---|")
    for error, answer in ANSWERS.items():
        text = answer.text.replace("{prefix}", "EOrder").replace("{mode}", "cancel_only")
        cells = [
            f"`{answer.code}`",
            str(answer.status.value),
            answer.outcome,
            "yes" if answer.retryable else "no",
            f"`{text}`",
            f"`{KNOWN[error]}`" if error in KNOWN and KNOWN[error] != text else "",
            meaning(error),
        ]
        rows.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join([*rows, INTERNAL])


def meaning(error: type[MarketError]) -> str:
    assert error.__doc__
    return " ".join(error.__doc__.split())


def test_the_table_is_that_of_the_service() -> None:
    text = PAGE.read_text()
    shown = text.split("<!-- errors -->")[1].split("<!-- /errors -->", maxsplit=1)[0].strip()
    assert shown == table(), f"put this between the marks:\n{table()}"


def test_every_code_is_told_what_to_do_about() -> None:
    advice = PAGE.read_text().split("<!-- /errors -->")[1]
    missing = {answer.code for answer in ANSWERS.values() if f"`{answer.code}`" not in advice}
    assert not missing, "no advice about these"
