"""A chain of title is verified from what its readers were shown; docs/register.md is the worked example."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from market.settlement.title import FIRST, BrokenTitle, Link, link_hash, party, verify_title

REGISTER = (Path(__file__).parents[3] / "docs" / "register.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(r"```json\n(.*?)```", REGISTER, re.DOTALL)


def links() -> list[Link]:
    return [Link(**item) for item in json.loads(EXAMPLE)["items"]]


def chained(*chain: Link) -> list[Link]:
    """Return the links with the hashes that they should have."""
    rehashed: list[Link] = []
    for link in chain:
        after = replace(link, previous_hash=rehashed[-1].hash if rehashed else FIRST)
        rehashed.append(replace(after, hash=link_hash(after)))
    return rehashed


def test_the_worked_example_of_the_docs_is_right() -> None:
    title = verify_title(links())
    issue, first, second = links()
    assert title.holders == {issue.assignee: 7_500_00, first.assignee: 1_500_00, second.assignee: 1_000_00}
    assert (title.loan_id, title.links, title.issued) == ("LC18-00042", 3, 10_000_00)
    assert f"the head `{title.head}`" in REGISTER.replace("\n", " ")
    opening = REGISTER.partition("has the opening")[2].strip()[1:65]
    assert party(opening, "A17") == first.assignee


def test_the_hash_is_over_the_shown_texts_joined_by_line_feeds() -> None:
    first = links()[0]
    texts = f"{FIRST}\nLC18-00042\n1\nissuance\n\n\n{first.assignee}\n10000.00\n2024-05-01T09:00:00.000000Z"
    assert link_hash(first) == hashlib.sha256(texts.encode()).hexdigest() == first.hash


@pytest.mark.parametrize(
    "changed",
    [
        {"face": "2500.01"},
        {"trade_id": "T-2"},
        {"kind": "issuance"},
        {"assignee": "0" * 64},
        {"effective_between_parties_at": "2024-05-01T09:30:12.345679Z"},
        {"hash": "0" * 64},
        {"previous_hash": FIRST},
        {"n": 3},
        {"loan_id": "LC18-00043"},
    ],
)
def test_any_change_is_seen(changed: dict[str, str | int]) -> None:
    chain = links()
    chain[1] = replace(chain[1], **changed)  # type: ignore[arg-type]
    with pytest.raises(BrokenTitle, match=f"link {chain[1].n}"):
        verify_title(chain)


def test_a_link_left_out_is_seen() -> None:
    for missing in (0, 1):
        chain = links()
        del chain[missing]
        with pytest.raises(BrokenTitle, match="does not follow"):
            verify_title(chain)


def test_nobody_assigns_what_he_does_not_hold() -> None:
    """Right hashes are not enough: who forges a whole chain must still make the amounts add up."""
    issue, first, second = links()
    with pytest.raises(BrokenTitle, match=r"link 3 .* more than its assignor held"):
        verify_title(chained(issue, first, replace(second, face="2500.01")))
    assert verify_title(chained(issue, first, replace(second, face="2500.00"))).holders[second.assignee] == 2_500_00


@pytest.mark.parametrize("face", ["1", "1.0", "-1.00", "1e3.00", ".00", "1.000"])
def test_a_face_is_plain_text_with_two_places(face: str) -> None:
    with pytest.raises(BrokenTitle, match="is not a face"):
        verify_title(chained(replace(links()[0], face=face)))


def test_a_loan_without_links_has_no_holders() -> None:
    assert verify_title([]).holders == {}
