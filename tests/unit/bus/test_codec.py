"""What crosses the bus comes out as it went in."""

from typing import Any

import msgspec
import pytest

from market.bus.codec import (
    KINDS,
    NOT_TOLD,
    REFUSALS,
    VERSION,
    Batch,
    Outcome,
    Tagged,
    UnknownVersion,
    entry_of,
    framed,
    outcome_of,
    pack,
    tagged,
    told,
    told_by,
    unframed,
    unpack,
    unpack_events,
    untagged,
)
from market.commands import Mode
from market.errors import MarketError, MarketMode, RuleViolation
from market.ids import Seq
from market.port import Answer
from tests.integration.settlement.recording import RecordedWorld


def through(value: Any) -> Any:
    return untagged(KINDS, unpack(Tagged, pack(tagged(value))))


def outcome_through(value: Answer | MarketError) -> Answer | MarketError:
    [outcome] = unpack(list[Outcome], unframed(framed("replies", [outcome_of(3, value)]))[1])
    assert outcome.number == 3
    return told_by(outcome)


@pytest.mark.parametrize("seed", range(3))
def test_every_command_result_and_event_of_a_random_world(seed: int) -> None:
    world = RecordedWorld(seed, commands=1_500)
    seen: set[type] = set()
    for entry in world.recording.take():
        assert through(entry.command) == entry.command
        assert outcome_through(Answer(entry.seq, entry.at, entry.result)) == Answer(entry.seq, entry.at, entry.result)
        kind, body = unframed(framed("batch", Batch(7, Seq(entry.seq - 1), entry.seq, (entry_of(entry),))))
        batch = unpack(Batch, body)
        assert (kind, batch.epoch, batch.previous, batch.seq) == ("batch", 7, entry.seq - 1, entry.seq)
        [heard] = map(told, batch.entries)
        assert (heard.seq, heard.at) == (entry.seq, entry.at)
        assert heard.events == tuple(event for event in entry.events if type(event) not in NOT_TOLD)
        seen.update(map(type, heard.events))
    assert len(seen) > 8


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=lambda each: each.__name__)
def test_every_refusal(refusal: type[MarketError]) -> None:
    heard = outcome_through(refusal("why", field="order_qty", have=1, need=2, rule="limit", other=None))
    assert type(heard) is refusal
    assert isinstance(heard, MarketError)
    assert (str(heard), heard.field) == ("why", "order_qty")
    assert heard.details == {"have": 1, "need": 2, "rule": "limit", "other": None}


def test_a_word_in_a_refusal_stays_that_word() -> None:
    heard = outcome_through(MarketMode("no", mode=Mode.CANCEL_ONLY))
    assert isinstance(heard, MarketError)
    assert heard.details["mode"] == Mode.CANCEL_ONLY


def test_of_another_version_unknown_events_and_fields_are_passed_over_and_unknown_commands_refused() -> None:
    assert unpack_events(pack([("EventOfTomorrow", msgspec.Raw(pack({"a": 1})))])) == ()
    with pytest.raises(ValueError, match="CommandOfTomorrow"):
        untagged(KINDS, ("CommandOfTomorrow", msgspec.Raw(pack({}))))
    rolled = unpack(Tagged, pack(("Unblock", msgspec.Raw(pack({"account_id": "A", "new_field": 3})))))
    assert untagged(KINDS, rolled).account_id == "A"


def test_bodies_of_the_next_version_may_have_grown_and_those_of_the_last_one_may_lack_what_came_later() -> None:
    grown = pack((VERSION + 1, "batch", (5, 10, 11, [(11, 77, [], "new")], 9, "1-0/3", "new", {"newer": 1})))
    batch = unpack(Batch, unframed(grown)[1])
    assert (batch.epoch, batch.began, batch.consumed, batch.entries[0].at) == (5, 9, "1-0/3", 77)
    old = pack((VERSION - 1, "batch", (5, 10, 11)))
    assert unpack(Batch, unframed(old)[1]) == Batch(5, Seq(10), Seq(11))


@pytest.mark.parametrize("version", [VERSION - 2, VERSION + 2])
def test_nothing_is_taken_of_a_version_that_is_not_next_to_ours(version: int) -> None:
    with pytest.raises(UnknownVersion):
        unframed(pack((version, "batch", (5, 10, 11))))


def test_a_refusal_that_only_another_version_knows_is_a_refusal_all_the_same() -> None:
    outcome = told_by(Outcome(1, refusal="RefusalOfTomorrow", message="no", details={"x": 1}))
    assert isinstance(outcome, RuleViolation)
    assert str(outcome) == "no"
