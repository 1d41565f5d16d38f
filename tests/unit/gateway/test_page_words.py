"""The page has words, in both languages, for whatever the market may tell it."""

import re
from pathlib import Path

import pytest

import gateway
from gateway.errors import ANSWERS
from gateway.reads.board import BoardWish
from gateway.requests.access import NewApiKey, NewPassword, NewUser, SignUp
from gateway.requests.administration import CashMovement, DayRoll, NewAccount, NewMode
from gateway.requests.loans import NewFace, NewLoan, RulebookChoice, ServicingBody
from gateway.requests.rulebooks import DefaultRulebook, FeeBody, FeesBody, LimitsBody, RulebookBody
from market.claims.loan import ClaimType, GuaranteeKind, LoanStatus, RepaymentMethod
from market.claims.servicing import ServicingType
from market.commands import AccountKind, Mode
from market.orderbook.order import CancelReason, OrderStatus

LOCALES = Path(gateway.__file__).parent / "web" / "src" / "locales"
KEY = re.compile(r'^  "([\w.,]+)":', re.MULTILINE)
RULE = re.compile(r'rule=f?"([\w{}]+)"')
FORMS = (NewApiKey, NewPassword, SignUp, NewUser, NewAccount, CashMovement, NewMode, DayRoll, NewLoan, NewFace)
FORMS_OF_RULES = (RulebookChoice, DefaultRulebook, RulebookBody, FeesBody, FeeBody, LimitsBody)
FIELDS_NOT_ASKED = {"label", "owner_group", "months_per_period", "day_count", "documents", "outstanding_principal"}
GROUPS = {
    "error": [*sorted({answer.code for answer in ANSWERS.values()}), "internal"],
    "cancelReason": list(CancelReason),
    "result": list(OrderStatus),
    "loanStatus": list(LoanStatus),
    "claimType": list(ClaimType),
    "guarantee": list(GuaranteeKind),
    "method": list(RepaymentMethod),
    "servicing": list(ServicingType),
    "accountKind": list(AccountKind),
    "mode": list(Mode),
    "mode.long": [mode for mode in Mode if mode is not Mode.OPEN],
    "orderStatus": list(OrderStatus),
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
    root, said = Path(gateway.__file__).parents[1], keys(language)
    files = [file for part in ("market", "gateway") for file in (root / part).rglob("*.py")]
    found = {rule for file in files for rule in RULE.findall(file.read_text())}
    rules = {rule.replace("{what}", what) for rule in found for what in ("loan", "borrower", "grade")}
    assert len(rules) > 20
    of_a_code = {key.rpartition(".")[2] for key in said if re.fullmatch(r"error\.\w+\.\w+", key)}
    assert sorted(rule for rule in rules - of_a_code if f"rule.{rule}" not in said) == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_field_of_the_page_s_forms_is_said(language: str) -> None:
    said = keys(language)
    fields = {name for form in (*FORMS, *FORMS_OF_RULES, ServicingBody, BoardWish) for name in form.model_fields}
    assert len(fields) > 60
    unsaid = {name for name in fields - FIELDS_NOT_ASKED if not {f"field.{name}", f"rulebook.{name}"} & said}
    plain = {name: re.sub("^(limit|min|max|order|new)_", "", name) for name in unsaid}
    assert sorted(name for name in unsaid if f"field.{plain[name]}" not in said) == []
