"""A mass quote over several partitions: split by loan, answered once; bids that lack cash are quoted again, once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial

from market.commands import MassQuote, QuoteAck, QuoteOutcome, Refusal
from market.errors import InsufficientFunds, MarketError
from market.ids import Currency
from market.port import Answer, EnginePort, Reply
from market.routing.answers import Collected, Told, quotes_of
from market.routing.known import Purse
from market.routing.paying import Payer


@dataclass(frozen=True, slots=True)
class Split:
    """A mass quote under way. places: of each partition's quotes in the whole command."""

    command: MassQuote
    places: Mapping[int, Sequence[int]]
    actor: str
    reply: Reply

    def part(self, where: int) -> MassQuote:
        return replace(self.command, quotes=tuple(self.command.quotes[place] for place in self.places[where]))

    def end(self, told: Mapping[int, Told]) -> None:
        self.reply(quotes_of(self.command, self.places, told))


class Quoting:
    def __init__(self, ports: Sequence[EnginePort], payer: Payer) -> None:
        self._ports = ports
        self._payer = payer
        self._moves = payer.moves
        self._known = payer.moves.known

    def send(self, command: MassQuote, actor: str, reply: Reply) -> None:
        split = Split(command, self._places(command), actor, reply)
        context = copy_context()

        def told(answers: dict[int, Told]) -> None:
            short = {where: needs for where, answer in answers.items() if (needs := self._short(split, answer))}
            if short:
                context.run(self._payer.spawn, self._pay(split, answers, short))
            else:
                split.end(answers)

        collected = Collected(list(split.places), told)
        for where in split.places:
            try:
                self._ports[where].send(split.part(where), actor=actor, reply=partial(collected.tell, where))
            except MarketError as error:
                collected.tell(where, error)

    def _places(self, command: MassQuote) -> dict[int, list[int]]:
        """Return which quotes each partition gets. What is malformed goes whole to one, which says so of the whole."""
        loan_ids = [quote.loan_id for quote in command.quotes]
        if not loan_ids or len(set(loan_ids)) < len(loan_ids):
            return {0: list(range(len(loan_ids)))}
        places: dict[int, list[int]] = {}
        for place, loan_id in enumerate(loan_ids):
            places.setdefault(self._known.where(loan_id), []).append(place)
        return places

    def _short(self, split: Split, answer: Told) -> dict[Purse, int]:
        """Return what must be free for the bids that were refused for want of cash, where there is so much at all."""
        if isinstance(answer, MarketError):
            return {}
        assert isinstance(answer.result, QuoteAck)
        needs: Counter[Purse] = Counter()
        for outcome in answer.result.quotes:
            details = {} if (bid := _short_bid(outcome)) is None else dict(bid.details)
            if isinstance(currency := details.get("currency"), str):
                needs[split.command.account_id, Currency(currency)] += int(details.get("need") or 0)
        return {purse: need for purse, need in needs.items() if need and self._moves.total(purse) >= need}

    async def _pay(self, split: Split, told: dict[int, Told], short: Mapping[int, Mapping[Purse, int]]) -> None:
        try:
            with self._payer.waits(split.command.account_id) as waiting:
                for where, needs in short.items():
                    answer = told[where]
                    assert isinstance(answer, Answer)
                    try:
                        for purse, need in needs.items():
                            async with self._payer.turn(purse):
                                await self._moves.bring(purse, where, need)
                        if not waiting.is_off:
                            told[where] = await self._quoted_again(split, where, answer)
                    except MarketError:
                        continue  # what was told at first stands
        finally:
            split.end(told)

    async def _quoted_again(self, split: Split, where: int, answer: Answer) -> Answer:
        """Return the answer with new outcomes for the quotes whose bid was short of cash."""
        assert isinstance(answer.result, QuoteAck)
        outcomes, part = list(answer.result.quotes), split.part(where)
        again = [n for n, outcome in enumerate(outcomes) if _short_bid(outcome) is not None]
        quotes = tuple(part.quotes[n] for n in again)
        second = await self._ports[where].submit(replace(part, quotes=quotes), actor=split.actor)
        assert isinstance(second.result, QuoteAck)
        for n, outcome in zip(again, second.result.quotes, strict=True):
            outcomes[n] = outcome
        return replace(second, result=QuoteAck(quotes=tuple(outcomes)))


def _short_bid(outcome: QuoteOutcome) -> Refusal | None:
    bid = outcome.bid
    return bid if isinstance(bid, Refusal) and bid.error == InsufficientFunds.__name__ else None
