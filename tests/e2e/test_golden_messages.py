"""The published conversations are what the service says today, word for word."""

import json

import pytest

from tests.e2e.golden import published, record
from tests.e2e.golden_scenes import SCENES


@pytest.mark.parametrize("name", SCENES)
async def test_the_service_says_what_is_published(database: str, name: str) -> None:
    """If the change is meant, ./dev messages writes the files anew: look at what git then shows."""
    said, wanted = await record(database, SCENES[name]), published(name)
    for n, (line, known) in enumerate(zip(said, wanted, strict=False), 1):
        assert line == known, f"line {n} of {name}.jsonl is now\n{json.dumps(line)}"
    assert len(said) == len(wanted)
