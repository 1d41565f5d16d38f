"""The error table against PROTOCOL, section 2, transcribed row by row."""

import json

import pytest

import gateway.errors as gateway_errors
from gateway.errors import ANSWERS, RateLimited, RouteNotFound, UnknownField, problem, ws_error
from market.errors import (
    Busy,
    InsufficientClaims,
    InvalidPrice,
    MarketError,
    MarketMode,
    OutcomeUnknown,
    UnknownLoan,
    VersionMismatch,
)

PROTOCOL_TABLE = """
invalid_arguments 422 EGeneral:Invalid arguments
unknown_field 422 EGeneral:Unknown field
unknown_method 404 EGeneral:Unknown method
auth_required 401 EAuth:Authentication required
auth_invalid_key 401 EAuth:Invalid key
auth_invalid_signature 401 EAuth:Invalid signature
auth_timestamp 401 EAuth:Timestamp outside window
auth_permission_denied 403 EAuth:Permission denied
account_frozen 403 EAuth:Account frozen
not_eligible 403 ELoan:Buyer not eligible
invalid_price 422 EOrder:Invalid price
price_out_of_band 422 EOrder:Invalid price
yield_floor 422 EOrder:Invalid price
rule_violation 422 EOrder:Invalid price
invalid_qty 422 EOrder:Invalid quantity
below_minimum 422 EOrder:Order minimum not met (volume too low)
insufficient_funds 422 EOrder:Insufficient funds (insufficient user funds)
insufficient_claims 422 EOrder:Insufficient claims
post_only_cross 422 EOrder:Post only would cross
fok_unfilled 422 EOrder:Cannot fill
min_qty_unfilled 422 EOrder:Cannot fill
unknown_order 404 EOrder:Unknown order
order_closed 409 EOrder:Unknown order
duplicate_id 409 EOrder:Duplicate cl_ord_id
version_mismatch 412 EOrder:Version mismatch
stale_book 412 EOrder:Stale book
self_trade 409 EOrder:Self trade
kill_switch 409 EOrder:Blocked
mmp_frozen 409 EOrder:Blocked
payload_too_large 413 EGeneral:Invalid arguments
method_not_allowed 405 EGeneral:Invalid arguments
not_found 404 EGeneral:Invalid arguments
unsupported_media_type 415 EGeneral:Invalid arguments
unknown_loan 404 ELoan:Unknown
loan_halted 409 ELoan:Halted
loan_closed 409 ELoan:Closed
not_transferable 409 ELoan:Not transferable
rate_limited 429 EOrder:Rate limit exceeded
deadline_elapsed 408 EService:Deadline elapsed
market_mode 409 EService:Market in cancel_only mode
busy 503 EService:Busy
unavailable 503 EService:Unavailable
"""
BROWSERS = {  # beyond the protocol: what only people in browsers meet
    ("auth_invalid_login", "401", "EAuth:Invalid login"),
    ("auth_csrf", "403", "EAuth:Cross-site request"),
}


def test_every_market_error_has_an_answer() -> None:
    assert gateway_errors.UnknownField in MarketError.__subclasses__()
    ours = {c for c in MarketError.__subclasses__() if c.__module__ in ("market.errors", "gateway.errors")}
    assert set(ANSWERS) == ours
    assert set(MarketError.__subclasses__()) == ours, "a refusal outside the two error modules has no answer"


def test_the_table_is_the_protocols() -> None:
    rows = {tuple(line.split(" ", 2)) for line in PROTOCOL_TABLE.strip().splitlines()}
    ours = {(a.code, str(a.status.value), ws_error(error())[0]) for error, a in ANSWERS.items()}
    assert ours == rows | BROWSERS


@pytest.mark.parametrize("error_class", ANSWERS, ids=lambda c: c.__name__)
def test_every_refusal_renders_on_both_protocols(error_class: type[MarketError]) -> None:
    answer, error = ANSWERS[error_class], error_class("why", field="order_qty")
    response = problem(error, instance="/v1/orders")
    body = json.loads(response.body)  # type: ignore[arg-type]
    assert response.status == answer.status
    assert response.content_type == "application/problem+json"
    assert {"type", "title", "status", "detail", "instance", "code", "outcome", "retryable", "errors"} <= body.keys()
    assert body["errors"] == [{"field": "order_qty", "message": "why"}]
    _, detail = ws_error(error)
    assert (detail["code"], detail["outcome"], detail["field"]) == (answer.code, body["outcome"], "order_qty")


def test_amounts_are_shown_as_decimals_and_other_numbers_are_not() -> None:
    _, detail = ws_error(InsufficientClaims(have=120_000, need=500_000))
    assert (detail["have"], detail["need"]) == ("1200.00", "5000.00")
    assert ws_error(VersionMismatch(version=3))[1]["version"] == 3


def test_the_loan_is_named_as_each_protocol_names_it() -> None:
    error = UnknownLoan("no loan X", field="symbol")
    assert ws_error(error)[1]["field"] == "symbol"
    assert json.loads(problem(error).body)["errors"][0]["field"] == "loan_id"  # type: ignore[arg-type]


def test_only_a_doubtful_commit_is_of_unknown_outcome() -> None:
    unknown = [error for error, answer in ANSWERS.items() if answer.outcome == "unknown"]
    assert unknown == [OutcomeUnknown]


def test_texts_tell_the_mode_and_what_was_limited() -> None:
    assert ws_error(MarketMode(mode="halted"))[0] == "EService:Market in halted mode"
    assert ws_error(RateLimited(prefix="EAPI"))[0] == "EAPI:Rate limit exceeded"
    assert "prefix" not in ws_error(RateLimited(prefix="EAPI"))[1]


def test_a_client_is_told_when_to_come_again() -> None:
    assert problem(RateLimited(retry_after_ms=1_500)).headers["Retry-After"] == "2"
    assert problem(Busy()).headers["Retry-After"] == "1"
    assert "Retry-After" not in problem(InvalidPrice()).headers
    assert "Retry-After" not in problem(RouteNotFound()).headers


def test_a_refusal_without_words_says_its_docstring() -> None:
    assert ws_error(UnknownField())[1]["message"] == "There is no such field here."
