"""How the answers of several partitions become the one that was waited for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from market.commands import CountAck, Done, Fenced, MassQuote, OrderAck, Quote, QuoteAck, QuoteOutcome, Refusal
from market.errors import MarketError, OutcomeUnknown, UnknownOrder
from market.port import Answer

Told = Answer | MarketError


class Collected:
    """Waits for the answers of several partitions. done: called once with all of them, by partition."""

    def __init__(self, partitions: Sequence[int], done: Callable[[dict[int, Told]], None]) -> None:
        self._told: dict[int, Told] = {}
        self._missing = len(partitions)
        self._done = done

    def tell(self, partition: int, told: Told) -> None:
        self._told[partition] = told
        self._missing -= 1
        if not self._missing:
            self._done(dict(sorted(self._told.items())))


def all_of(told: Mapping[int, Told]) -> Told:
    """Return the answer to a command that every partition must carry out: the lowest's, or that it is half done."""
    answers = [each for each in told.values() if isinstance(each, Answer)]
    errors = [each for each in told.values() if isinstance(each, MarketError)]
    if not answers:
        return errors[0]
    if orders := [each for each in answers if isinstance(each.result, OrderAck)]:
        return orders[0]  # a client order id was asked for: no other partition has it
    if errors:
        return OutcomeUnknown(f"only a part of the market carried it out, send it again: {errors[0]}")
    first = answers[0]
    results = [each.result for each in answers]
    if isinstance(first.result, CountAck):
        counts = [each for each in results if isinstance(each, CountAck)]
        summed = CountAck(count=sum(each.count for each in counts), quotes=sum(each.quotes for each in counts))
        return replace(first, result=summed)
    if isinstance(first.result, Done):
        return replace(first, result=Done(duplicate=all(isinstance(each, Done) and each.duplicate for each in results)))
    assert isinstance(first.result, Fenced)
    return first


def whoever_knows(told: Mapping[int, Told]) -> Told:
    """Return the answer of the one partition that has the order; if none has, what most needs to be said."""
    for each in told.values():
        if isinstance(each, Answer):
            return each
    errors = [each for each in told.values() if isinstance(each, MarketError)]
    known = [error for error in errors if not isinstance(error, UnknownOrder)]
    return max(known or errors, key=lambda error: isinstance(error, OutcomeUnknown))


def quotes_of(command: MassQuote, places: Mapping[int, Sequence[int]], told: Mapping[int, Told]) -> Told:
    """Return the answer to a mass quote. places: of each partition, where its quotes stand in the command."""
    if not any(isinstance(each, Answer) for each in told.values()):
        return next(iter(told.values()))
    outcomes: list[QuoteOutcome] = [QuoteOutcome(None, None)] * len(command.quotes)
    first: Answer | None = None
    for partition, each in told.items():
        if isinstance(each, MarketError):
            for place in places[partition]:
                outcomes[place] = _refused(command.quotes[place], each)
            continue
        first = first or each
        assert isinstance(each.result, QuoteAck)
        for place, outcome in zip(places[partition], each.result.quotes, strict=True):
            outcomes[place] = outcome
    assert first is not None
    return replace(first, result=QuoteAck(quotes=tuple(outcomes)))


def _refused(quote: Quote, error: MarketError) -> QuoteOutcome:
    """Return what becomes of a quote whose partition took none: each side that was wanted has that error."""
    refusal = Refusal(type(error).__name__, str(error), error.field, tuple(sorted(error.details.items())))
    bid = refusal if quote.bid is not None and quote.bid_quantity else None
    ask = refusal if quote.ask is not None and quote.ask_quantity else None
    return QuoteOutcome(bid, ask)
