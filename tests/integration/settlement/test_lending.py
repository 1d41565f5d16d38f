"""What originators lent and transferred, kept by the schema itself from the loans that are written."""

import asyncpg
import pytest

from market.commands import IssueFace
from market.ids import Face, LoanId, Minor
from market.settlement.check import check
from tests.builders import register
from tests.integration.settlement.recording import RecordingMarket, execute, fetchval, opened

LENDING = "SELECT array_agg((originator, currency, lent, transferred)) FROM market.lending"


async def test_the_example_of_the_balance_coefficient_holds_in_the_schema(database: str) -> None:
    """600,000.00 of 1,000,000.00 are out, over two loans: 400,000.00 more is accepted, 400,000.01 refused."""
    market = RecordingMarket(loans=())
    for loan_id, lent, issued in (("L1", 600_000_00, 600_000_00), ("L2", 400_000_00, 0)):
        principal = Minor(lent)
        market.do(register(loan_id, issued, original_principal=principal, outstanding_at_registration=principal))
    async with opened(database) as store:
        await store.commit(market.take())
        assert await fetchval(database, LENDING) == [("ORIG", "USD", 1_000_000_00, 600_000_00)]
        for face, refused in ((400_000_01, True), (400_000_00, False)):
            # As the owner and with the loan's own rule gone: the originator's rule stands by itself.
            statements = (
                "ALTER TABLE market.loan DROP CONSTRAINT loan_issued_within_principal",
                f"UPDATE market.loan SET issued = issued + {face} WHERE loan_id = 'L2'",
            )
            with pytest.raises(asyncpg.CheckViolationError) as refusal:
                await execute(database, *statements)
            expected = "transferred_within_lent" if refused else "positions_equal_issued_face"
            assert refusal.value.constraint_name == expected  # the second is not refused, only not posted here
        market.do(IssueFace(loan_id=LoanId("L2"), face=Face(400_000_00)))
        await store.commit(market.take())
    assert await fetchval(database, LENDING) == [("ORIG", "USD", 1_000_000_00, 1_000_000_00)]
    assert (await check(database)).ok
