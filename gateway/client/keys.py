"""API keys, and what is signed with them."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class ApiKey:
    key: str
    secret: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read KEY:SECRET. Raises ValueError."""
        key, colon, secret = text.partition(":")
        if not (key and colon and secret):
            raise ValueError("an API key is written KEY:SECRET")
        return cls(key, secret)

    def __str__(self) -> str:
        return f"{self.key}:{self.secret}"

    def rest_headers(self, timestamp_us: int, method: str, path: str, payload: bytes) -> dict[str, str]:
        """Return what signs one call. path: with its query, as sent."""
        timestamp = str(timestamp_us)
        signature = self._sign(timestamp, method, path, hashlib.sha256(payload).hexdigest())
        return {"X-API-Key": self.key, "X-API-Timestamp": timestamp, "X-API-Signature": signature}

    def login_params(self, greeting: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of `login` that answer the challenge of a socket's greeting."""
        challenge = greeting["challenge"]
        signature = self._sign("ws-login", greeting["connection_id"], challenge, self.key)
        return {"api_key": self.key, "challenge": challenge, "sig": signature}

    def _sign(self, *parts: str) -> str:
        return hmac.new(self.secret.encode(), "\n".join(parts).encode(), hashlib.sha256).hexdigest()
