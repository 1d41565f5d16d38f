"""`check` sees what somebody with all rights changed behind the schema's back."""

import pytest

from market.settlement.check import CHECKS, check
from tests.integration.settlement.recording import execute, opened, traded_market

UNGUARDED = "SET session_replication_role = replica"  # no trigger fires

TAMPERED = {
    "log_hash_chain": ["UPDATE market.command_log SET actor = 'somebody else' WHERE seq = 3"],
    "log_gapless": ["DELETE FROM market.command_log WHERE seq = 4"],
    "log_epochs_and_times_only_grow": ["UPDATE market.command_log SET at = at - 1000 WHERE seq = 5"],
    "lease_at_log_head": ["UPDATE market.lease SET seq = seq - 1"],
    "postings_sum_to_zero": [
        "UPDATE market.posting SET amount = amount + 1 WHERE account_id = 'A' AND leg = 'principal'"
    ],
    "entries_have_postings": ["INSERT INTO market.journal_entry VALUES (999, 'issuance', 'L1', 1, 1)"],
    "cash_equals_postings": ["UPDATE market.cash_balance SET total = total + 1 WHERE account_id = 'A'"],
    "positions_equal_postings": ["UPDATE market.position SET face = face + 1 WHERE account_id = 'A'"],
    "loans_follow_their_rulebook": [
        "UPDATE market.loan SET rulebook = (rulebook::jsonb || '{\"max_transfers\": 6}')::json WHERE loan_id = 'L2'"
    ],
    "positions_equal_lots": ["UPDATE market.lots SET faces[1] = faces[1] + 1 WHERE account_id = 'A'"],
    "lots_in_order": [
        "UPDATE market.lots SET (faces, acquired, transfers) = "
        "(faces || faces, acquired || acquired, transfers || transfers)"
    ],
    "cash_equals_custody": [
        "ALTER TABLE market.cash_balance DROP CONSTRAINT cash_not_negative",
        "UPDATE market.cash_balance SET total = total - 1 WHERE account_id = 'CUSTODY'",
    ],
    "positions_equal_issued_face": ["UPDATE market.loan SET issued = issued - 1 WHERE issued > 0"],
    "lending_equals_its_loans": ["UPDATE market.lending SET transferred = transferred - 1"],
    "nothing_negative": [
        "ALTER TABLE market.cash_balance DROP CONSTRAINT cash_not_negative",
        "UPDATE market.cash_balance SET total = -total WHERE account_id = 'B'",
    ],
    "holds_within_balances": ["UPDATE market.orders SET hold = 1000000000 WHERE is_open AND side = 'buy'"],
    "trades_have_exactly_their_postings": ["UPDATE market.trade SET buyer = 'B'"],
    "assignments_are_exactly_the_face_postings": ["UPDATE market.assignment SET assignee = 'B' WHERE kind = 'trade'"],
    "title_hash_chains": ["UPDATE market.assignment SET at = at + 1000 WHERE n = 1"],
    "servicing_has_exactly_its_postings": ["UPDATE market.servicing_event SET distributed = distributed - 1"],
    "loans_equal_their_servicing": ["UPDATE market.loan SET outstanding = outstanding - 1 WHERE loan_id = 'L1'"],
    "fenced_ids_have_no_order": ["INSERT INTO market.fenced_id VALUES ('ORIG', 'first', 1)"],
    "trades_gapless": ["UPDATE market.trade SET trade_id = 7"],
    "orders_equal_their_trades": ["UPDATE market.orders SET cum_cost = cum_cost + 1 WHERE client_order_id = 'one'"],
    "cash_moves_have_exactly_their_postings": ["INSERT INTO market.cash_move VALUES ('m', 'A', 'USD', 1, 1, 1, 1)"],
    "cash_lines_equal_their_moves": ["INSERT INTO market.cash_line VALUES ('A', 'USD', 1)"],
    "executions_gapless": ["UPDATE market.execution SET sequence = 9 WHERE account_id = 'B'"],
}


@pytest.fixture
async def ledger(database: str) -> str:
    async with opened(database) as store:
        await store.commit(traded_market().take())
    return database


async def test_an_untouched_ledger_is_right(ledger: str) -> None:
    report = await check(ledger)
    assert report.ok, report
    assert {found.name for found in report.checks} == set(CHECKS) == set(TAMPERED)


async def test_an_empty_ledger_is_right(database: str) -> None:
    report = await check(database)
    assert report.ok, report
    assert report.seq == 0


@pytest.mark.parametrize("name", TAMPERED)
async def test_tampering_is_seen(ledger: str, name: str) -> None:
    await execute(ledger, UNGUARDED, *TAMPERED[name])
    report = await check(ledger)
    assert not report.ok
    assert name in {found.name for found in report.checks if not found.ok}


@pytest.mark.parametrize(
    "change",
    [
        "seq = seq + 100 WHERE seq = 9",
        "at = at + 1 WHERE seq = 2",
        "actor = actor || ' ' WHERE seq = 1",
        "kind = 'CancelAll' WHERE seq = 7",
        "body = (body::text || ' ')::json WHERE seq = 2",
        "hash = sha256(hash) WHERE seq = 9",
    ],
)
async def test_any_change_of_a_log_line_breaks_the_chain(ledger: str, change: str) -> None:
    await execute(ledger, UNGUARDED, f"UPDATE market.command_log SET {change}")
    broken = {found.name for found in (await check(ledger)).checks if not found.ok}
    assert "log_hash_chain" in broken


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE market.assignment SET assignee = 'B' WHERE n = 2",
        "UPDATE market.assignment SET assignor = 'B' WHERE n = 2",
        "UPDATE market.assignment SET face = face + 1 WHERE n = 2",
        "UPDATE market.assignment SET trade_id = 2 WHERE n = 2",
        "UPDATE market.assignment SET n = n + 1 WHERE n = 2",
        "UPDATE market.assignment SET hash = sha256(hash) WHERE n = 1",
        "DELETE FROM market.assignment WHERE n = 1",
        "UPDATE market.title_secret SET secret = sha256(secret)",
    ],
)
async def test_any_change_of_a_title_breaks_its_chain(ledger: str, change: str) -> None:
    await execute(ledger, UNGUARDED, change)
    assert "title_hash_chains" in {found.name for found in (await check(ledger)).checks if not found.ok}


async def test_a_title_that_was_rewritten_to_the_end_differs_from_the_journal(ledger: str) -> None:
    """The chain alone shows only that nothing in it was changed: whether it is the whole truth the postings say."""
    forged = "DELETE FROM market.assignment WHERE n = 2"
    await execute(ledger, UNGUARDED, forged)
    broken = {found.name for found in (await check(ledger)).checks if not found.ok}
    assert broken == {"assignments_are_exactly_the_face_postings"}


async def test_a_rewritten_last_line_is_seen_by_the_lease(ledger: str) -> None:
    """Whoever rewrites the end of the chain consistently must also rewrite the lease, which others keep a copy of."""
    forged = """
        UPDATE market.command_log l SET actor = 'x', hash = sha256(p.hash || convert_to(l.seq::text, 'UTF8') || '\\x00'
            || convert_to(l.at::text, 'UTF8') || '\\x00' || 'x' || '\\x00' || convert_to(l.kind, 'UTF8') || '\\x00'
            || convert_to(l.body::text, 'UTF8'))
        FROM market.command_log p WHERE p.seq = l.seq - 1 AND l.seq = (SELECT max(seq) FROM market.command_log)
    """
    await execute(ledger, UNGUARDED, forged)
    assert {found.name for found in (await check(ledger)).checks if not found.ok} == {"lease_at_log_head"}
