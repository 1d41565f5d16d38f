"""What is handed out: the built page is in the wheel and in the source distribution, its sources only in the latter."""

import re
import subprocess
import sys
import tarfile
import zipfile
from gzip import compress
from pathlib import Path

import pytest

from tests.page import ROOT, built_page

GZIP_BYTES_MAX = 150_000  # of all that an investor may load
OPERATOR_BYTES_MAX = 20_000  # of the page that operators alone load
WEB = ROOT / "gateway" / "web"


@pytest.fixture(scope="module")
def page() -> Path:
    return built_page()


def test_the_wheel_and_the_source_distribution_carry_the_built_page(page: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {file.relative_to(page).as_posix() for file in page.rglob("*") if file.is_file()}
    [wheel], [source] = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    assert {f"gateway/web/dist/{name}" for name in built} <= in_wheel
    assert not [name for name in in_wheel if name.startswith("gateway/web/") and "/dist/" not in name]
    with tarfile.open(source) as archive:
        in_source = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"gateway/web/dist/{name}" for name in built} <= in_source
    assert {"hatch_build.py", "gateway/web/package-lock.json", "gateway/web/src/main.ts"} <= in_source
    assert not any("node_modules" in name for name in in_source)


def test_the_page_is_small_and_asks_nobody_else(page: Path) -> None:
    files = [file for file in page.rglob("*") if file.is_file()]
    sizes = {file.name: len(compress(file.read_bytes(), mtime=0)) for file in files}
    [operators] = [name for name in sizes if name.startswith("Operator-")]
    assert sizes.pop(operators) < OPERATOR_BYTES_MAX
    assert sum(sizes.values()) < GZIP_BYTES_MAX
    index = (page / "index.html").read_text()
    assert not re.search(r"https?:|<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", index)
    for file in files:
        if file.suffix == ".css":
            assert not re.search(r"url\(\s*['\"]?(https?:|//)|@import", file.read_text())


def test_the_lock_of_the_web_app_names_no_host() -> None:
    lock = (WEB / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity": "sha512-') > 50
    assert not re.search(r'"[\^~<>=*]', (WEB / "package.json").read_text()), "a version that is not exact"
