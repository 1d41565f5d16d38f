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

GZIP_BYTES_MAX = 150_000  # of all that an investor may load in one language, charts and every page
FIRST_BYTES_MAX = 78_000  # of what the market's page needs of it
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


def test_what_one_reader_loads_is_small(page: Path) -> None:
    sizes = {
        file.name: len(compress(file.read_bytes(), mtime=0))
        for file in [page / "index.html", *(page / "assets").iterdir()]
    }
    parts = {name.partition("-")[0]: size for name, size in sizes.items()}
    assert len(parts) == len(sizes)
    assert parts.pop("Operator") < OPERATOR_BYTES_MAX
    languages = [parts.pop(language) for language in ("en", "zh")]
    assert sum(parts.values()) + max(languages) < GZIP_BYTES_MAX
    parts.pop("Loan")
    assert sum(parts.values()) + max(languages) < FIRST_BYTES_MAX


def test_the_page_asks_nobody_else(page: Path) -> None:
    index = (page / "index.html").read_text()
    assert not re.search(r"https?:|<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", index)
    for file in page.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:|//)|@import", file.read_text())


def test_the_lock_of_the_web_app_names_no_host() -> None:
    lock = (WEB / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity": "sha512-') > 50
    assert not re.search(r'"[\^~<>=*]', (WEB / "package.json").read_text()), "a version that is not exact"
