"""The web app's own units and types, with its own tools, where they are installed (hatch_build.py does)."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.page import ROOT, built_page

WEB = ROOT / "gateway" / "web"


@pytest.fixture(scope="module")
def tools() -> Path:
    built_page()
    tools = WEB / "node_modules"
    if not (tools / ".installed").exists():
        pytest.skip("gateway/web/node_modules is not installed: remove gateway/web/dist and run python hatch_build.py")
    return tools


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(("vitest/vitest.mjs", "run"), id="units"),
        pytest.param(
            ("svelte-check/bin/svelte-check", "--tsconfig", "./tsconfig.json", "--fail-on-warnings"), id="types"
        ),
    ],
)
def test_the_web_app_passes(tools: Path, program: tuple[str, ...]) -> None:
    from hatch_build import find_node  # noqa: PLC0415  the builder is no module of the package

    found = find_node()
    assert found is not None
    command = [found.node, str(tools / program[0]), *program[1:]]
    done = subprocess.run(
        command, cwd=WEB, capture_output=True, text=True, check=False, env=os.environ | {"NO_COLOR": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
