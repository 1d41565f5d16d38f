"""Requests that always end in a definite answer, however often the connection is lost meanwhile.

A request that changes nothing when it is repeated is repeated until it is answered. An order is repeated under its
`cl_ord_id`, which executes once; when its time is up, `resolve_order` says what became of it, and fences the id if
nothing did. A refusal counts as the answer only if no earlier copy can still be on its way: otherwise the id is
resolved, for the copy might yet be executed after the refusal.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol

from gateway.client.backoff import Backoff
from gateway.client.errors import ApiError, Closed, Disconnected, Fenced, NotSent, Unanswered, Unresolved
from gateway.client.wire import Json

ATTEMPTS_MAX = 8  # of a request that the service was too busy for


class Caller(Protocol):
    """One attempt at a request. Waits for a connection first; raises as Socket.call does."""

    def __call__(self, method: str, *, timeout_s: float, **params: Any) -> Awaitable[Json]: ...


async def place(call: Caller, *, timeout_s: float, resolve_s: float, backoff: Backoff, **params: Any) -> Json:
    """Return the acknowledgement of an order, or the order if it had to be resolved. params: with its `cl_ord_id`.

    timeout_s: how long the order is tried; after that it is only asked what became of it, for resolve_s at most.
    Raises ApiError if it was not executed (Fenced if that took a fence), Unresolved if even that could not be learned.
    """
    loop = asyncio.get_running_loop()
    until, is_doubtful = loop.time() + timeout_s, False
    while (left_s := until - loop.time()) > 0:
        try:
            return await call("add_order", timeout_s=left_s, **params)
        except ApiError as e:
            if e.outcome == "not_executed" and not is_doubtful:
                raise
            break
        except NotSent:
            if not is_doubtful:
                raise
            break
        except Disconnected:
            is_doubtful = True
        except Unanswered:
            break
    cl_ord_id = params["cl_ord_id"]
    found = await resolve(call, cl_ord_id, timeout_s=timeout_s, resolve_s=resolve_s, backoff=backoff)
    if found is None:
        raise Fenced(cl_ord_id)
    return found


async def resolve(call: Caller, cl_ord_id: str, *, timeout_s: float, resolve_s: float, backoff: Backoff) -> Json | None:
    """Return the order of a client id; None if there is none, and never will be. Raises Unresolved."""
    loop = asyncio.get_running_loop()
    until, failures = loop.time() + resolve_s, 0
    while True:
        try:
            found = await call("resolve_order", timeout_s=timeout_s, cl_ord_id=cl_ord_id)
        except (ApiError, Disconnected, Unanswered) as e:
            lasting = isinstance(e, Closed) or (isinstance(e, ApiError) and not may_pass(e))
            if lasting or loop.time() >= until:
                raise Unresolved(cl_ord_id) from e
            least_s = e.retry_after_s if isinstance(e, ApiError) else 0.0
            await asyncio.sleep(max(least_s, backoff.delay_s(failures)))
            failures += 1
        else:
            return found if found["exists"] else None


async def insist(call: Caller, method: str, *, timeout_s: float, backoff: Backoff, **params: Any) -> Json:
    """Return the result of a request that may be repeated.

    Raises ApiError for a refusal that lasts, or the last failure after ATTEMPTS_MAX of them.
    """
    for attempt in range(ATTEMPTS_MAX):
        try:
            return await call(method, timeout_s=timeout_s, **params)
        except ApiError as e:
            if attempt + 1 == ATTEMPTS_MAX or not may_pass(e):
                raise
            least_s = e.retry_after_s
        except (Disconnected, Unanswered) as e:
            if isinstance(e, Closed) or attempt + 1 == ATTEMPTS_MAX:
                raise
            least_s = 0.0
        await asyncio.sleep(max(least_s, backoff.delay_s(attempt)))
    raise AssertionError("unreachable")


def may_pass(error: ApiError) -> bool:
    """Whether the same request may fare better in a moment. A market's mode lasts until somebody changes it."""
    return error.retryable and error.code != "market_mode"
