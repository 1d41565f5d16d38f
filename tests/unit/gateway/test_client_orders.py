"""An order always ends in a definite answer: every way in which its request can go, in tables."""

from typing import Any

import pytest

from gateway.client import ApiError, Backoff, Disconnected, Fenced, NotSent, Unanswered, Unresolved
from gateway.client.errors import Closed
from gateway.client.orders import insist, place, resolve
from gateway.client.wire import Json

AT_ONCE = Backoff(first_s=0.0)
ACK = {"order_id": "O-1", "order_status": "new"}
ORDER = {"exists": True, "fenced": False, "order_id": "O-1", "order_status": "filled"}
FENCED = {"exists": False, "fenced": True}


def refusal(code: str, outcome: str = "not_executed", **more: Any) -> ApiError:
    return ApiError(code, "", body={"code": code, "outcome": outcome, "retryable": False, **more})


class Service:
    """Answers from a list, and remembers what it was asked."""

    def __init__(self, *answers: Json | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, method: str, *, timeout_s: float, **params: Any) -> Json:
        assert params["cl_ord_id"] == "c1"
        self.asked.append(method)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def placed(service: Service) -> Json:
    return await place(service, timeout_s=60, resolve_s=60, backoff=AT_ONCE, cl_ord_id="c1")


@pytest.mark.parametrize(
    ("answers", "asked", "result"),
    [
        pytest.param([ACK], "A", ACK, id="acknowledged"),
        pytest.param([Disconnected(), ACK], "AA", ACK, id="asked again under its id after a lost connection"),
        pytest.param([Unanswered(), ORDER], "AR", ORDER, id="resolved after a timeout"),
        pytest.param([refusal("unavailable", "unknown"), ORDER], "AR", ORDER, id="resolved after an unknown outcome"),
        pytest.param(
            [Disconnected(), refusal("rate_limited"), ORDER], "AAR", ORDER,
            id="a refused copy says nothing of the first",
        ),
        pytest.param([Disconnected(), NotSent(), ORDER], "AAR", ORDER, id="no connection in time for a second copy"),
        pytest.param(
            [Unanswered(), Disconnected(), NotSent(), refusal("busy", retryable=True), ORDER], "ARRRR", ORDER,
            id="asked for until somebody knows",
        ),
    ],
)  # fmt: skip
async def test_an_order_that_stands_is_told(answers: list[Any], asked: str, result: Json) -> None:
    service = Service(*answers)
    assert await placed(service) == result
    assert "".join(method[0].upper() for method in service.asked) == asked


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        pytest.param([refusal("post_only_cross")], ApiError, id="refused"),
        pytest.param([NotSent()], NotSent, id="it never left"),
        pytest.param([Unanswered(), FENCED], Fenced, id="fenced after a timeout"),
        pytest.param([Disconnected(), refusal("insufficient_funds"), FENCED], Fenced, id="fenced after a refused copy"),
        pytest.param([Unanswered(), Closed()], Unresolved, id="the client was closed"),
        pytest.param([Unanswered(), refusal("auth_permission_denied")], Unresolved, id="it may not ask"),
    ],
)
async def test_an_order_that_does_not_stand_is_an_error(answers: list[Any], error: type[Exception]) -> None:
    service = Service(*answers)
    with pytest.raises(error) as told:
        await placed(service)
    assert type(told.value) is error
    assert not service.answers


async def test_nobody_asks_for_ever() -> None:
    service = Service(*[Disconnected()] * 3)
    with pytest.raises(Unresolved, match="c1"):
        await resolve(service, "c1", timeout_s=1, resolve_s=0, backoff=AT_ONCE)
    assert len(service.answers) == 2


async def test_what_may_be_repeated_is_repeated() -> None:
    service = Service(Disconnected(), Unanswered(), refusal("rate_limited", retryable=True, retry_after_ms=1), ACK)
    assert await insist(service, "get_order", timeout_s=1, backoff=AT_ONCE, cl_ord_id="c1") == ACK


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        pytest.param([refusal("unknown_order")], 1, id="a lasting refusal"),
        pytest.param([refusal("market_mode", retryable=True)], 1, id="a market that is closed"),
        pytest.param([Closed()], 1, id="a closed client"),
        pytest.param([Disconnected()] * 9, 8, id="too many failures"),
    ],
)
async def test_what_lasts_is_not_repeated(answers: list[Exception], asked: int) -> None:
    service = Service(*answers)
    with pytest.raises(type(answers[0])):
        await insist(service, "get_order", timeout_s=1, backoff=AT_ONCE, cl_ord_id="c1")
    assert len(service.asked) == asked
