"""What can go wrong between a client and the service, told apart by what it says about the outcome."""

import aiohttp

from gateway.client.wire import Json


class ApiError(Exception):
    """The service refused. outcome: `not_executed` or `unknown`.  body: all that it said."""

    def __init__(self, code: str, message: str, *, status: int | None = None, body: Json) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.status = status
        self.body = body
        self.outcome = str(body.get("outcome", "unknown"))
        self.retryable = bool(body.get("retryable", False))

    @property
    def retry_after_s(self) -> float:
        return float(self.body.get("retry_after_ms", 0)) / 1_000


class Fenced(ApiError):
    """The order was not executed and never will be: its client id is fenced, so a late copy is refused."""

    def __init__(self, cl_ord_id: str) -> None:
        body = {"code": "fenced", "outcome": "not_executed", "retryable": False, "cl_ord_id": cl_ord_id}
        super().__init__("fenced", f"{cl_ord_id} was not executed and never will be", body=body)


class Disconnected(Exception):
    """The socket is gone; what was asked and not yet answered may or may not have been done."""


class NotSent(Disconnected):
    """There was no connection, so nothing was asked."""


class Closed(NotSent):
    """The client was closed."""


class Unanswered(TimeoutError):
    """No answer came in time; what was asked may or may not have been done."""


class Overrun(Exception):
    """A reader left too many messages unread and has lost some; what it reads next would not follow."""


class Unresolved(Exception):
    """Nobody could be asked what became of an order. `resolve_order` with its id will tell, once there is somebody."""

    def __init__(self, cl_ord_id: str) -> None:
        super().__init__(f"what became of {cl_ord_id} could not be learned")
        self.cl_ord_id = cl_ord_id


NO_ANSWER = (Disconnected, aiohttp.ClientError, OSError)  # Unanswered is a TimeoutError, so an OSError
