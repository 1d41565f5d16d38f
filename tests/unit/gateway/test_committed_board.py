"""How the board is asked for, and how the committed market gets onto it."""

from datetime import date
from typing import Any

import pytest

from gateway.reads.board import PAID_MAX, BoardWish, CommittedBoard, entry_of
from gateway.reads.views import Views
from market.commands import Command, RollDay
from market.errors import InvalidArguments
from market.events import LogEntry
from market.ids import LoanId
from market.orderbook.board import Figure, Wanted
from tests.builders import Market, buy, cancel, deposit, open_account, register, sell, service, servicing

L1 = LoanId("L1")


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ({"grade": "A,B"}, {"grade": ["B", "A"]}),
        ({"never_late": "false"}, {"never_late": False}),
        ({"min_ytm": "0.12"}, {"min_ytm": "0.120000"}),
        ({"max_remaining_months": "12"}, {"max_remaining_months": 12}),
        ({"status": "late,default", "sort": "-ytm"}, {"status": ["default", "late"], "sort": "-ytm"}),
        ({"loan_id": "L2,L1"}, {"loan_id": ["L1", "L2", "L1"]}),
        ({"status": "all", "q": "VAN"}, {"status": ["all"], "q": "van"}),
    ],
)
def test_a_query_and_a_message_that_say_the_same_are_one_wish(text: dict[str, Any], typed: dict[str, Any]) -> None:
    assert BoardWish.parse(text).to_wanted() == BoardWish.parse(typed).to_wanted()


@pytest.mark.parametrize(
    "said",
    [
        {"grade": []},
        {"grade": 7},
        {"status": "sleeping"},
        {"claim_type": ["unsecured", 1]},
        {"never_late": 1},
        {"never_late": "yes"},
        {"min_price": "1.001"},
        {"max_ytm": "1e-3"},
        {"min_remaining_months": "1.5"},
        {"min_available": None, "max_available": []},
        {"sort": "--ytm"},
        {"sort": "symbol"},
        {"loan_id": []},
        {"loan_id": [f"L{n}" for n in range(501)]},
    ],
)
def test_what_makes_no_sense_is_refused_by_name(said: dict[str, Any]) -> None:
    with pytest.raises(InvalidArguments) as refused:
        BoardWish.parse(said)
    assert refused.value.field in said


class Rig:
    def __init__(self) -> None:
        self.market, self.views = Market(), Views()
        self.board = CommittedBoard(self.views)
        for listener in (self.views, self.board):
            listener.on_snapshot(1, self.market.venue.seq, self.market.venue.snapshot())

    def do(self, command: Command) -> Any:
        applied = self.market.do(command)
        seq, at = self.market.venue.seq, self.market.at
        entry = LogEntry(seq=seq, at=at, actor="test", command=command, events=applied.events, result=applied.result)
        for listener in (self.views, self.board):
            listener.on_entry(entry)
            listener.on_batch_end()
        return applied.result

    def graded(self, *grades: str) -> list[LoanId]:
        """Register loans of these grades."""
        names = [f"G{n}" for n in range(len(grades))]
        for name, grade in zip(names, grades, strict=True):
            self.do(register(name, grade=grade))
        return [LoanId(name) for name in names]

    def figure(self, figure: Figure) -> int | None:
        entry = self.board.get(L1)
        assert entry is not None
        return entry.figures[figure]


async def test_offers_come_and_go() -> None:
    rig = Rig()
    await rig.board.settle()
    assert rig.board.take_untold() == [L1]
    assert rig.figure(Figure.PRICE) is None
    placed = rig.do(sell("ORIG", 9_800, 500_00))
    await rig.board.settle()
    assert (rig.figure(Figure.PRICE), rig.figure(Figure.DISCOUNT), rig.figure(Figure.AVAILABLE)) == (9_800, 200, 500_00)
    rig.do(cancel("ORIG", placed.order_id))
    assert await rig.board.page(Wanted(bounds=((Figure.PRICE, 1, None),)), limit=5) == ([], None)


async def test_a_day_moves_every_yield() -> None:
    rig = Rig()
    rig.do(sell("ORIG", 9_000, 500_00))
    await rig.board.settle()
    before = rig.figure(Figure.YTM)
    rig.do(RollDay(to=date(2024, 1, 25)))
    assert await rig.board.page(Wanted(sort=Figure.YTM), limit=5) == ([L1], None)
    assert before is not None
    assert rig.figure(Figure.YTM) != before


async def test_what_an_order_may_be_by_besides_follows_the_loan() -> None:
    """Last trade, grade, type, and history: never late before all, then what is paid."""
    rig = Rig()
    rig.do(open_account("BUYER"))
    rig.do(deposit("BUYER", 1_000_00))
    await rig.board.settle()
    assert rig.figure(Figure.LAST) is None
    assert rig.figure(Figure.HISTORY) == PAID_MAX
    rig.do(sell("ORIG", 9_800, 500_00))
    rig.do(buy("BUYER", 9_800, 100_00))
    rig.do(RollDay(to=date(2024, 2, 15)))
    rig.do(service(servicing("payment", date(2024, 2, 15), 888_49)))
    await rig.board.settle()
    assert (rig.figure(Figure.LAST), rig.figure(Figure.HISTORY)) == (9_800, PAID_MAX + 1)
    ranks = [
        entry_of(rig.views.loans[each]).figures[Figure.GRADE] for each in rig.graded("A", "A1", "B", "AVERYLONG", "")
    ]
    assert ranks[-1] is None
    assert sorted(ranks[:-1]) == [ranks[0], ranks[1], ranks[3], ranks[2]]  # as text is sorted
