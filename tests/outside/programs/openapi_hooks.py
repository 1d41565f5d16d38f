"""Signs what schemathesis sends, as the published contract says: key, timestamp and a signature over all of it."""

import hashlib
import hmac
import itertools
import os
import time
from typing import Any

import requests.auth
import schemathesis

KEY, SECRET = os.environ["MARKET_KEY"], os.environ["MARKET_SECRET"]


class Signed(requests.auth.AuthBase):
    """A signature is good once, so no two requests bear the same time."""

    def __init__(self) -> None:
        self._more = itertools.count()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        timestamp = str(time.time_ns() // 1_000 + next(self._more) % 1_000)
        said = "\n".join((timestamp, request.method or "", request.path_url, hashlib.sha256(body).hexdigest()))
        request.headers["X-API-Key"] = KEY
        request.headers["X-API-Timestamp"] = timestamp
        request.headers["X-API-Signature"] = hmac.new(SECRET.encode(), said.encode(), hashlib.sha256).hexdigest()
        return request


schemathesis.auth.set_from_requests(Signed())


@schemathesis.hook
def filter_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> bool:
    """Let the key that signs live: revoking it, which is well possible, would end the run's meaning."""
    return path_parameters is None or path_parameters.get("key") != KEY
