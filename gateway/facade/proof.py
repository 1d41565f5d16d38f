"""Who makes a private call of the façade: an API key, a signature over path, nonce and body, a nonce above all before.

The last nonce of a key is kept in the database, so a call is good once through restarts and for any number of gateways.
A call whose signature is wrong uses up no nonce.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

import asyncpg

from gateway.access.auth import KeyRing, Principal
from gateway.errors import AuthInvalidSignature

NONCE_MAX = 2**63 - 1
USE_NONCE = """
    INSERT INTO facade_nonce AS used (key, nonce) VALUES ($1, $2)
    ON CONFLICT (key) DO UPDATE SET nonce = EXCLUDED.nonce WHERE used.nonce < EXCLUDED.nonce
    RETURNING nonce
"""


class InvalidNonce(AuthInvalidSignature):
    """The nonce is not above every nonce that was used with this key."""


def facade_signature(secret: str, *, path: str, nonce: str, body: bytes) -> str:
    """Return what API-Sign must be: base64 of HMAC-SHA512 over path + SHA-256(nonce + body).

    secret: base64 text, decoded for the key.  path: without a query.  nonce: as it stands in the body.
    """
    signed = path.encode() + hashlib.sha256(nonce.encode() + body).digest()
    return base64.b64encode(hmac.new(base64.b64decode(secret), signed, hashlib.sha512).digest()).decode()


async def prove(
    keys: KeyRing,
    pool: "asyncpg.Pool[asyncpg.Record]",
    *,
    headers: Mapping[str, str],
    path: str,
    nonce: str | None,
    body: bytes,
    peer: str | None,
) -> Principal:
    """Return who signed a private call, and use up its nonce."""
    api_key = keys.of_key(headers.get("API-Key"), peer)
    if nonce is None or not (nonce.isascii() and nonce.isdigit() and len(nonce) <= 19 and 0 < int(nonce) <= NONCE_MAX):
        raise InvalidNonce("nonce: must be a whole number above the last one", field="nonce")
    given = headers.get("API-Sign", "")
    try:
        expected = facade_signature(api_key.secret, path=path, nonce=nonce, body=body)
    except binascii.Error as e:
        raise AuthInvalidSignature("this key's secret is no base64 text") from e
    if not hmac.compare_digest(expected.encode(), given.encode(errors="surrogateescape")):
        raise AuthInvalidSignature("the signature does not match")
    if await pool.fetchval(USE_NONCE, api_key.key, int(nonce)) is None:
        raise InvalidNonce("nonce: must be above the last one", field="nonce")
    return Principal(api_key)
