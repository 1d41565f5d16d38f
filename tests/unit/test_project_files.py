"""The files around the code: the compose file is valid and pinned, the lock files name no address."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_compose_file_keeps_the_compose_schema() -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.yml",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_images_are_pinned() -> None:
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / "Dockerfile").read_text()
    images = re.findall(r"^\s*(?:image:|FROM)\s+(\S+)", text, re.MULTILINE)
    ours = {image for image in images if image.startswith("debt-market:")}
    assert len(images) >= 5
    for image in set(images) - ours:
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-|$)", image), f"{image} is not pinned to a release"


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-outside.lock"])
def test_lock_files_hold_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    requirements = re.findall(r"^[a-z0-9].*$", text, re.MULTILINE | re.IGNORECASE)
    assert requirements
    assert all(line.endswith("\\") for line in requirements), "a requirement without a hash"


def test_the_run_lock_is_part_of_the_test_lock() -> None:
    """So that one environment serves both."""
    run, test = ((ROOT / name).read_text().splitlines() for name in ("requirements.lock", "requirements-dev.lock"))
    assert {line for line in run if "==" in line} <= {line for line in test if "==" in line}


def test_both_readmes_have_the_same_settings_and_examples() -> None:
    english, chinese = ((ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md"))

    def settings(text: str) -> list[list[str]]:
        table = text.split("<!-- settings -->")[1].split("<!-- /settings -->", maxsplit=1)[0]
        return [row.split("|")[1:4] for row in table.strip().splitlines()[2:]]

    assert settings(english) == settings(chinese)
    examples = re.compile(r"```.*?```", re.DOTALL)
    assert examples.findall(english) == examples.findall(chinese)
    pictures = re.compile(r"docs/images/[a-z]+\.png")
    assert pictures.findall(english) == pictures.findall(chinese)
    assert all((ROOT / name).exists() for name in pictures.findall(english))
