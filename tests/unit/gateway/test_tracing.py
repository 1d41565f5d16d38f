"""Tracing is an extra: nothing of it is imported unless it is asked for, and who asks without it is told so."""

import subprocess
import sys

import pytest

WITHOUT = """
import sys
from gateway.cli.app import run
from gateway.process.config import Settings
from gateway.process.lifecycle import StartError, traced
import gateway.process.serve
with traced(Settings(), "serve") as tracing:
    assert tracing is None
ours = {"gateway.process.otel", "opentelemetry.sdk.trace", "opentelemetry.exporter.otlp"}  # redis-py imports others
assert not ours & set(sys.modules), "imported without being asked for"
"""
NOT_INSTALLED = """
import sys
sys.modules["opentelemetry"] = None
from gateway.process.config import Settings
from gateway.process.lifecycle import StartError, traced
try:
    with traced(Settings(trace_url="http://127.0.0.1:4318/v1/traces"), "serve"):
        pass
except StartError as e:
    assert "debt-market[otel]" in str(e)
else:
    raise AssertionError("nothing was said")
"""


@pytest.mark.parametrize("script", [pytest.param(WITHOUT, id="off"), pytest.param(NOT_INSTALLED, id="not installed")])
def test_the_extra_is_one(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
