"""The published vectors, docs/vectors/signatures.json, and the one that docs/authentication.md works out."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.access.auth import login_signature, rest_signature
from gateway.facade.proof import facade_signature

DOCS = Path(__file__).resolve().parents[3] / "docs"
VECTORS: dict[str, list[dict[str, str]]] = json.loads((DOCS / "vectors" / "signatures.json").read_text())


def cases(kind: str) -> Any:
    return pytest.mark.parametrize("case", VECTORS[kind], ids=lambda case: case["name"])


@cases("rest")
def test_a_request_is_signed_as_published(case: dict[str, str]) -> None:
    body = case["body"].encode()
    assert hashlib.sha256(body).hexdigest() == case["body_sha256"]
    given = rest_signature(
        case["secret"], timestamp=case["timestamp"], method=case["method"], path=case["path"], body=body
    )
    assert given == case["signature"]


@cases("login")
def test_a_login_is_signed_as_published(case: dict[str, str]) -> None:
    given = login_signature(
        case["secret"], connection_id=case["connection_id"], challenge=case["challenge"], key=case["api_key"]
    )
    assert given == case["sig"]


@cases("facade")
def test_a_call_of_the_facade_is_signed_as_published(case: dict[str, str]) -> None:
    given = facade_signature(case["secret"], path=case["path"], nonce=case["nonce"], body=case["body"].encode())
    assert given == case["api_sign"]


def test_the_worked_example_is_one_of_the_vectors() -> None:
    text = (DOCS / "authentication.md").read_text()
    [case] = [case for case in VECTORS["rest"] if case["name"] == "an order"]
    for part in ("secret", "timestamp", "path", "body", "body_sha256", "signature"):
        assert case[part] in text, part
