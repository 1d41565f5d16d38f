"""What crosses the bus comes out as it went in."""

from typing import Any

import msgspec
import pytest

from market.bus.codec import (
    KINDS,
    NOT_TOLD,
    REFUSALS,
    Tagged,
    pack,
    pack_batch,
    pack_outcome,
    tagged,
    unpack,
    unpack_batch,
    unpack_events,
    unpack_outcome,
    untagged,
)
from market.commands import Mode
from market.errors import InsufficientFunds, MarketError, MarketMode
from market.ids import Seq
from market.port import Answer
from tests.integration.settlement.recording import RecordedWorld


def through(value: Any) -> Any:
    return untagged(KINDS, unpack(Tagged, pack(tagged(value))))


@pytest.mark.parametrize("seed", range(3))
def test_every_command_result_and_event_of_a_random_world(seed: int) -> None:
    world = RecordedWorld(seed, commands=1_500)
    seen: set[type] = set()
    for entry in world.recording.take():
        assert through(entry.command) == entry.command
        outcome = unpack_outcome(pack_outcome(Answer(entry.seq, entry.at, entry.result)))
        assert outcome == Answer(entry.seq, entry.at, entry.result)
        batch = unpack_batch(pack_batch(7, Seq(entry.seq - 1), entry.seq, [entry]))
        assert (batch.epoch, batch.previous, batch.seq) == (7, entry.seq - 1, entry.seq)
        [told] = batch.entries
        assert (told.seq, told.at) == (entry.seq, entry.at)
        assert told.events == tuple(event for event in entry.events if not isinstance(event, NOT_TOLD))
        seen.update(map(type, told.events))
    assert len(seen) > 8


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=lambda each: each.__name__)
def test_every_refusal(refusal: type[MarketError]) -> None:
    told = unpack_outcome(pack_outcome(refusal("why", field="order_qty", have=1, need=2, rule="limit", other=None)))
    assert type(told) is refusal
    assert isinstance(told, MarketError)
    assert (str(told), told.field) == ("why", "order_qty")
    assert told.details == {"have": 1, "need": 2, "rule": "limit", "other": None}


def test_a_word_in_a_refusal_stays_that_word() -> None:
    told = unpack_outcome(pack_outcome(MarketMode("no", mode=Mode.CANCEL_ONLY)))
    assert isinstance(told, MarketError)
    assert told.details["mode"] == Mode.CANCEL_ONLY


def test_an_outcome_is_an_answer_or_a_refusal_whatever_its_length() -> None:
    assert isinstance(unpack_outcome(pack_outcome(InsufficientFunds("x", have=1))), InsufficientFunds)


def test_of_another_version_unknown_events_and_fields_are_passed_over_and_unknown_commands_refused() -> None:
    assert unpack_events(pack([("EventOfTomorrow", msgspec.Raw(pack({"a": 1})))])) == ()
    with pytest.raises(ValueError, match="CommandOfTomorrow"):
        untagged(KINDS, ("CommandOfTomorrow", msgspec.Raw(pack({}))))
    rolled = unpack(Tagged, pack(("Unblock", msgspec.Raw(pack({"account_id": "A", "new_field": 3})))))
    assert untagged(KINDS, rolled).account_id == "A"
