"""The built web app, made first where it is missing or older than its sources."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def built_page() -> Path:
    """Return the folder of the built page. Skips where it can't be built, as on a machine without the npm registry."""
    done = subprocess.run([sys.executable, "hatch_build.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the web app can't be built here: {done.stderr.strip().splitlines()[-1]}")
    return ROOT / "gateway" / "web" / "dist"
