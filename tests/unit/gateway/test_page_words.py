"""The page has words, in both languages, for whatever the market may tell it."""

import re
from pathlib import Path

import pytest

import gateway
from gateway.errors import ANSWERS
from market.claims.loan import ClaimType, GuaranteeKind, LoanStatus, RepaymentMethod
from market.claims.servicing import ServicingType
from market.commands import AccountKind, Mode
from market.orderbook.order import CancelReason, OrderStatus

LOCALES = Path(gateway.__file__).parent / "web" / "src" / "locales"
KEY = re.compile(r'^  "([\w.,]+)":', re.MULTILINE)
RULE = re.compile(r'rule="(\w+)"')
GROUPS = {
    "error": sorted({answer.code for answer in ANSWERS.values()}),
    "cancelReason": list(CancelReason),
    "result": list(OrderStatus),
    "loanStatus": list(LoanStatus),
    "claimType": list(ClaimType),
    "guarantee": list(GuaranteeKind),
    "method": list(RepaymentMethod),
    "servicing": list(ServicingType),
    "accountKind": list(AccountKind),
    "mode": list(Mode),
}


def keys(language: str) -> set[str]:
    files = [LOCALES / f"{language}.ts", *sorted((LOCALES / language).glob("*.ts"))]
    return {key for file in files for key in KEY.findall(file.read_text())}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("group", GROUPS)
def test_every_word_of_the_market_is_said(language: str, group: str) -> None:
    said = keys(language)
    assert [word for word in GROUPS[group] if f"{group}.{word}" not in said] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_rule_that_refuses_is_said(language: str) -> None:
    sources = (Path(gateway.__file__).parents[1] / "market").rglob("*.py")
    rules = {rule for file in sources for rule in RULE.findall(file.read_text())}
    assert len(rules) > 5
    assert sorted(rule for rule in rules if f"rule.{rule}" not in keys(language)) == []
