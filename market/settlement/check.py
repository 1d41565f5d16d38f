"""Verifies the ledger from its tables alone: the log's hash chain, every conservation law, every count without a gap.

Each check is one query that returns what is wrong, so that millions of rows stay in the database. All of them see the
same moment. It is written without the writer's code: a bug there can't hide itself here.

Of a market that is cut into partitions each ledger is checked by itself, then what holds between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from market.ids import Seq
from market.partitions import schema_of
from market.settlement.merged import ledgers_of

SHOWN = 20  # violations reported per check
TABLES_BETWEEN = ("cash_move", "cash_receipt", "cash_line", "loan", "account", "custody_movement")


@dataclass(frozen=True, slots=True)
class Check:
    """violations: the first of what is wrong, one text each; empty when all is well."""

    name: str
    violations: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.violations


@dataclass(frozen=True, slots=True)
class Report:
    """seq, log_head: where the ledger stood when it was checked; of several, the first one."""

    seq: Seq
    log_head: bytes
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


# name -> a query whose rows each name one violation
CHECKS = {
    "log_hash_chain": r"""
        SELECT format('line %s does not follow from the one before', seq) FROM (
            SELECT *, lag(hash, 1, decode(repeat('00', 32), 'hex')) OVER (ORDER BY seq) AS previous
            FROM command_log
        ) line WHERE hash <> sha256(previous || convert_to(seq::text, 'UTF8') || '\x00' || convert_to(at::text, 'UTF8')
            || '\x00' || convert_to(actor, 'UTF8') || '\x00' || convert_to(kind, 'UTF8')
            || '\x00' || convert_to(body::text, 'UTF8'))
    """,
    "log_gapless": """
        SELECT format('%s lines from %s to %s', count(*), min(seq), max(seq)) FROM command_log
        HAVING min(seq) <> (SELECT origin + 1 FROM lease) OR max(seq) - min(seq) + 1 <> count(*)
    """,
    "log_epochs_and_times_only_grow": """
        SELECT format('line %s', seq) FROM (
            SELECT seq, epoch, at, lag(epoch) OVER w AS epoch_before, lag(at) OVER w AS at_before
            FROM command_log WINDOW w AS (ORDER BY seq)
        ) line WHERE epoch < epoch_before OR at < at_before
    """,
    "lease_at_log_head": """
        SELECT format('the lease is at %s, the log at %s', lease.seq, coalesce(last.seq, 0))
        FROM lease LEFT JOIN (SELECT seq, hash FROM command_log ORDER BY seq DESC LIMIT 1) last ON true
        WHERE lease.seq <> coalesce(last.seq, lease.origin)
           OR lease.log_head <> coalesce(last.hash, decode(repeat('00', 32), 'hex'))
    """,
    "fenced_ids_have_no_order": """
        SELECT format('%s of %s', client_order_id, account_id)
        FROM fenced_id JOIN orders USING (account_id, client_order_id)
    """,
    "postings_sum_to_zero": """
        SELECT format('entry %s, %s: %s', entry_id, asset, sum(amount))
        FROM posting GROUP BY entry_id, unit, asset HAVING sum(amount) <> 0
    """,
    "entries_have_postings": """
        SELECT format('entry %s', coalesce(e.entry_id, p.entry_id)) FROM journal_entry e
        FULL JOIN (SELECT DISTINCT entry_id FROM posting) p ON p.entry_id = e.entry_id
        WHERE e.entry_id IS NULL OR p.entry_id IS NULL
    """,
    "cash_equals_postings": """
        SELECT format('%s has %s %s, its postings make %s', account_id, coalesce(b.total, 0), currency,
                      coalesce(p.total, 0))
        FROM cash_balance b FULL JOIN (
            SELECT account_id, asset AS currency, sum(amount) AS total
            FROM posting WHERE unit = 'cash' GROUP BY 1, 2
        ) p USING (account_id, currency) WHERE coalesce(b.total, 0) <> coalesce(p.total, 0)
    """,
    "positions_equal_postings": """
        SELECT format('%s has %s of %s, its postings make %s', account_id, coalesce(b.face, 0), loan_id,
                      coalesce(p.face, 0))
        FROM position b FULL JOIN (
            SELECT account_id, asset AS loan_id, sum(amount) AS face
            FROM posting WHERE unit = 'face' GROUP BY 1, 2
        ) p USING (account_id, loan_id) WHERE coalesce(b.face, 0) <> coalesce(p.face, 0)
    """,
    "loans_follow_their_rulebook": """
        SELECT format('%s does not have the rules of %s', loan_id, name)
        FROM loan JOIN rulebook ON name = rulebook->>'name' WHERE NOT rulebook::jsonb @> rules::jsonb
    """,
    "positions_equal_lots": """
        SELECT format('%s has %s of %s, its lots make %s',
                      account_id, coalesce(p.face, 0), loan_id, coalesce(l.face, 0))
        FROM (SELECT * FROM position WHERE account_id <> 'ISSUE') p FULL JOIN (
            SELECT account_id, loan_id, (SELECT sum(face) FROM unnest(faces) face) AS face FROM lots
        ) l USING (account_id, loan_id) WHERE coalesce(p.face, 0) <> coalesce(l.face, 0)
    """,
    "lots_in_order": """
        SELECT DISTINCT format('%s in %s', account_id, loan_id) FROM (
            SELECT account_id, loan_id, (on_date, times) <= lag((on_date, times)) OVER w AS is_wrong
            FROM lots CROSS JOIN unnest(acquired, transfers) WITH ORDINALITY lot (on_date, times, n)
            WINDOW w AS (PARTITION BY account_id, loan_id ORDER BY n)
        ) pairs WHERE is_wrong
    """,
    "cash_equals_custody": """
        SELECT format('%s: accounts have %s, the custodian %s, its movements make %s',
                      currency, accounts, -coalesce(custody, 0), moved)
        FROM (SELECT currency, sum(total) FILTER (WHERE account_id <> 'CUSTODY') AS accounts,
                     sum(total) FILTER (WHERE account_id = 'CUSTODY') AS custody
              FROM cash_balance GROUP BY currency) b
        FULL JOIN (
            SELECT currency, sum(amount) AS moved FROM (
                SELECT currency, amount FROM custody_movement
                UNION ALL SELECT currency, distributed FROM servicing_event
            ) movements GROUP BY currency
        ) m USING (currency)
        WHERE coalesce(accounts, 0) <> -coalesce(custody, 0) OR coalesce(accounts, 0) <> coalesce(moved, 0)
    """,
    "positions_equal_issued_face": """
        SELECT format('%s: holders have %s, issued are %s of %s',
                      loan_id, coalesce(face, 0), issued, original_principal)
        FROM loan LEFT JOIN (
            SELECT loan_id, sum(face) AS face FROM position WHERE account_id <> 'ISSUE' GROUP BY loan_id
        ) holders USING (loan_id) WHERE coalesce(face, 0) <> issued OR issued > original_principal
    """,
    "lending_equals_its_loans": """
        SELECT format('%s in %s: lent %s, transferred %s, its loans make %s and %s', originator, currency,
                      lent, transferred, coalesce(principal, 0), coalesce(issued, 0))
        FROM lending FULL JOIN (
            SELECT originator, currency, sum(original_principal) AS principal, sum(issued) AS issued
            FROM loan GROUP BY 1, 2
        ) loans USING (originator, currency)
        WHERE (lent, transferred) IS DISTINCT FROM (principal, issued) OR transferred > lent
    """,
    "nothing_negative": """
        SELECT format('%s %s: %s', account_id, currency, total) FROM cash_balance
            WHERE account_id NOT IN ('CUSTODY', '/TRANSIT') AND total < 0
        UNION ALL
        SELECT format('the custodian has %s %s, other ledgers sent %s', -custody, currency, sent) FROM (
            SELECT currency, coalesce(sum(total) FILTER (WHERE account_id = 'CUSTODY'), 0) AS custody,
                   -coalesce(sum(total) FILTER (WHERE account_id = '/TRANSIT'), 0) AS sent
            FROM cash_balance GROUP BY currency
        ) outside WHERE sent < custody
        UNION ALL
        SELECT format('%s %s: %s', account_id, loan_id, face) FROM position
            WHERE (face < 0) <> (account_id = 'ISSUE') AND face <> 0
    """,
    "holds_within_balances": """
        SELECT format('%s holds %s %s, has %s', account_id, hold, currency, coalesce(total, 0)) FROM (
            SELECT account_id, currency, sum(hold) AS hold
            FROM orders WHERE is_open AND side = 'buy' GROUP BY 1, 2
        ) held LEFT JOIN cash_balance USING (account_id, currency) WHERE hold > coalesce(total, 0)
        UNION ALL
        SELECT format('%s holds %s of %s, has %s', account_id, hold, loan_id, coalesce(face, 0)) FROM (
            SELECT account_id, loan_id, sum(hold) AS hold
            FROM orders WHERE is_open AND side = 'sell' GROUP BY 1, 2
        ) held LEFT JOIN position USING (account_id, loan_id) WHERE hold > coalesce(face, 0)
    """,
    "trades_have_exactly_their_postings": """
        SELECT DISTINCT format('trade %s', reference) FROM (
            SELECT trade_id::text AS reference, leg.* FROM trade t CROSS JOIN LATERAL (VALUES
                (buyer, 'cash', currency, 'principal', -principal), (seller, 'cash', currency, 'principal', principal),
                (buyer, 'cash', currency, 'accrued', -accrued), (seller, 'cash', currency, 'accrued', accrued),
                (buyer, 'cash', currency, 'fee', -buyer_fee), (seller, 'cash', currency, 'fee', -seller_fee),
                ('HOUSE', 'cash', currency, 'fee', buyer_fee + seller_fee),
                (buyer, 'face', loan_id, 'claim', quantity), (seller, 'face', loan_id, 'claim', -quantity)
            ) leg (account_id, unit, asset, leg, amount)
            UNION ALL
            SELECT e.reference, p.account_id, p.unit, p.asset, p.leg, -p.amount
            FROM journal_entry e JOIN posting p USING (entry_id) WHERE e.kind = 'trade'
        ) both_sides GROUP BY reference, account_id, unit, asset, leg HAVING sum(amount) <> 0
    """,
    "assignments_are_exactly_the_face_postings": """
        SELECT DISTINCT format('entry %s of %s', entry_id, loan_id) FROM (
            SELECT a.entry_id, a.loan_id, side.*, a.at, a.kind, a.trade_id::text AS trade
            FROM assignment a CROSS JOIN LATERAL (VALUES (assignor, -face), (assignee, face)) side (party, face)
            UNION ALL
            SELECT p.entry_id, p.asset, p.account_id, -p.amount, e.at, e.kind,
                   CASE e.kind WHEN 'trade' THEN e.reference END
            FROM posting p JOIN journal_entry e USING (entry_id) WHERE p.unit = 'face'
        ) both_sides GROUP BY entry_id, loan_id, party, at, kind, trade HAVING sum(face) <> 0
    """,
    "title_hash_chains": r"""
        WITH parties AS (
            SELECT loan_id, account_id, encode(sha256(convert_to(
                encode(sha256(secret || sha256(secret || convert_to(loan_id || E'\n' || account_id, 'UTF8'))), 'hex')
                || E'\n' || account_id, 'UTF8')), 'hex') AS party
            FROM (SELECT DISTINCT loan_id, assignee AS account_id FROM assignment) took, title_secret
        )
        SELECT format('link %s of %s does not follow from the one before', n, loan_id) FROM (
            SELECT a.*, row_number() OVER w AS place, sha256(convert_to(
                coalesce(encode(lag(hash) OVER w, 'hex'), repeat('0', 64)) || E'
' || a.loan_id || E'
' || n
                || E'
' || kind || E'
' || coalesce('T-' || trade_id, '') || E'
' || coalesce(giver.party, '')
                || E'
' || taker.party || E'
' || trim(to_char(face / 100.0, '999999999999999990.00'))
                || E'
' || to_char(timestamp 'epoch' + make_interval(secs => at / 1000000000)
                                    + make_interval(secs => at % 1000000000 / 1000 / 1000000.0),
                                    'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'UTF8')) AS right_hash
            FROM assignment a
                LEFT JOIN parties giver ON (giver.loan_id, giver.account_id) = (a.loan_id, a.assignor)
                JOIN parties taker ON (taker.loan_id, taker.account_id) = (a.loan_id, a.assignee)
            WINDOW w AS (PARTITION BY a.loan_id ORDER BY n)
        ) link WHERE hash <> right_hash OR n <> place
    """,
    "servicing_has_exactly_its_postings": """
        SELECT format('event %s: %s distributed, its postings make %s', coalesce(s.event_id, p.event_id),
                      coalesce(distributed, 0), coalesce(paid, 0))
        FROM servicing_event s FULL JOIN (
            SELECT e.reference AS event_id, sum(p.amount) AS paid
            FROM journal_entry e JOIN posting p USING (entry_id)
            WHERE e.kind = 'servicing' AND p.account_id <> 'CUSTODY' GROUP BY e.reference
        ) p USING (event_id) WHERE coalesce(distributed, 0) <> coalesce(paid, 0)
    """,
    "loans_equal_their_servicing": """
        SELECT format('%s: outstanding %s, its events leave %s', loan_id, outstanding,
                      outstanding_at_registration - coalesce(repaid, 0))
        FROM loan LEFT JOIN (
            SELECT loan_id, sum(principal - capitalised) AS repaid FROM servicing_event GROUP BY loan_id
        ) s USING (loan_id) WHERE outstanding <> outstanding_at_registration - coalesce(repaid, 0)
        UNION ALL
        SELECT format('%s: outstanding %s, its open instalments make %s', loan_id, outstanding, owed)
        FROM loan JOIN (
            SELECT loan_id, coalesce(sum((row->>'principal')::bigint), 0) AS owed
            FROM loan_schedule LEFT JOIN LATERAL json_array_elements(schedule->'rows')
                WITH ORDINALITY open_rows (row, n) ON n > (schedule->>'paid')::int GROUP BY loan_id
        ) s USING (loan_id) WHERE outstanding <> owed
    """,
    "trades_gapless": """
        SELECT format('%s trades from %s to %s', count(*), min(trade_id), max(trade_id)) FROM trade
        HAVING min(trade_id) <> (SELECT origin + 1 FROM lease) OR max(trade_id) - min(trade_id) + 1 <> count(*)
    """,
    "orders_equal_their_trades": """
        SELECT format('order %s: filled %s at %s, its trades make %s at %s',
                      order_id, filled, cum_cost, coalesce(traded, 0), coalesce(paid, 0))
        FROM orders FULL JOIN (
            SELECT order_id, sum(quantity) AS traded, sum(principal) AS paid FROM (
                SELECT buy_order_id AS order_id, quantity, principal FROM trade
                UNION ALL SELECT sell_order_id, quantity, principal FROM trade
            ) sides WHERE order_id < 1::bigint << 62 GROUP BY order_id  -- from there on: quotes, which have no rows
        ) t USING (order_id)
        WHERE filled IS NULL OR filled <> coalesce(traded, 0) OR cum_cost <> coalesce(paid, 0)
    """,
    "executions_gapless": """
        SELECT format('%s: %s messages from %s to %s', account_id, count(*), min(sequence), max(sequence))
        FROM execution GROUP BY account_id HAVING min(sequence) <> 1 OR max(sequence) <> count(*)
    """,
    "cash_moves_have_exactly_their_postings": """
        SELECT DISTINCT format('%s of %s', reference, account_id) FROM (
            SELECT 'to ' || to_partition || ' ' || move_id AS reference, leg.*
            FROM cash_move CROSS JOIN LATERAL (VALUES
                (account_id, currency, -amount), ('/TRANSIT', currency, amount)) leg (account_id, asset, amount)
            UNION ALL
            SELECT 'from ' || sender || ' ' || move_id, leg.*
            FROM cash_receipt CROSS JOIN LATERAL (VALUES
                (account_id, currency, amount), ('/TRANSIT', currency, -amount)) leg (account_id, asset, amount)
            UNION ALL
            SELECT e.reference, p.account_id, p.asset, -p.amount
            FROM journal_entry e JOIN posting p USING (entry_id)
            WHERE e.kind = 'cash_move' OR p.account_id = '/TRANSIT' OR p.leg = 'transit'
        ) both_sides GROUP BY reference, account_id, asset HAVING sum(amount) <> 0
    """,
    "cash_lines_equal_their_moves": """
        SELECT format('%s in %s: %s, its moves make %s', account_id, currency,
                      coalesce(l.moved, 0), coalesce(m.moved, 0))
        FROM cash_line l FULL JOIN (
            SELECT account_id, currency, sum(amount) AS moved FROM (
                SELECT account_id, currency, amount FROM cash_receipt
                UNION ALL SELECT account_id, currency, -amount FROM cash_move
                UNION ALL SELECT '/TRANSIT', currency, -amount FROM cash_receipt
                UNION ALL SELECT '/TRANSIT', currency, amount FROM cash_move
            ) moves GROUP BY 1, 2
        ) m USING (account_id, currency) WHERE coalesce(l.moved, 0) <> coalesce(m.moved, 0)
    """,
}

# The same for what holds between ledgers. {moves}, {receipts}, ...: rows of all ledgers, with the partition of each.
BETWEEN = {
    "cash_received_was_sent": """
        SELECT format('%s of %s: partition %s received %s %s, partition %s sent %s', r.move_id, r.account_id,
                      r.partition, r.amount, r.currency, r.sender, coalesce(m.amount, 0))
        FROM ({cash_receipt}) r LEFT JOIN ({cash_move}) m
            ON (m.partition, m.move_id, m.to_partition) = (r.sender, r.move_id, r.partition)
        WHERE (m.account_id, m.currency, m.amount) IS DISTINCT FROM (r.account_id, r.currency, r.amount)
    """,
    "lines_and_what_is_on_the_way_make_the_balance": """
        SELECT format('%s in %s: other ledgers have %s less than was sent, on the way are %s', account_id, currency,
                      coalesce(missing, 0), coalesce(on_the_way, 0))
        FROM (SELECT account_id, currency, -sum(moved) AS missing FROM ({cash_line}) l
              WHERE account_id <> '/TRANSIT' GROUP BY 1, 2) lines
        FULL JOIN (
            SELECT m.account_id, m.currency, sum(m.amount) AS on_the_way FROM ({cash_move}) m
            WHERE NOT EXISTS (SELECT FROM ({cash_receipt}) r
                WHERE (r.sender, r.move_id, r.partition) = (m.partition, m.move_id, m.to_partition)) GROUP BY 1, 2
        ) moves USING (account_id, currency) WHERE coalesce(missing, 0) <> coalesce(on_the_way, 0)
    """,
    "loans_have_one_home": """
        SELECT format('%s is in partitions %s', loan_id, string_agg(partition::text, ', ' ORDER BY partition))
        FROM ({loan}) l GROUP BY loan_id HAVING count(*) > 1
    """,
    "accounts_are_those_of_the_first_ledger": """
        SELECT format('%s in partition %s', a.account_id, a.partition)
        FROM ({account}) a LEFT JOIN market.account first USING (account_id)
        WHERE a.digest IS DISTINCT FROM first.digest
    """,
    "cash_is_paid_in_and_out_at_the_first_ledger": """
        SELECT format('%s in partition %s', custody_ref, partition) FROM ({custody_movement}) m WHERE partition <> 0
    """,
}


async def check(dsn: str) -> Report:
    """Run every check on one snapshot of the database; a few seconds per million rows."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            ledgers = await ledgers_of(connection)
            checks = []
            for partition in ledgers:
                await connection.execute(f"SET LOCAL search_path TO {schema_of(partition)}")
                prefix = f"{schema_of(partition)}." if partition else ""
                checks += [await _checked(connection, prefix + name, query) for name, query in CHECKS.items()]
            if len(ledgers) > 1:
                rows = {table: _rows_of_all(ledgers, table) for table in TABLES_BETWEEN}
                checks += [await _checked(connection, name, query.format(**rows)) for name, query in BETWEEN.items()]
            lease = await connection.fetchrow(f"SELECT seq, log_head FROM {schema_of(0)}.lease")
        return Report(Seq(lease["seq"]), lease["log_head"], tuple(checks))
    finally:
        await connection.close()


async def _checked(connection: asyncpg.Connection, name: str, query: str) -> Check:
    wrong = await connection.fetch(f"SELECT * FROM ({query}) AS violation (what) LIMIT {SHOWN}")
    return Check(name, tuple(row["what"] for row in wrong))


def _rows_of_all(ledgers: Sequence[int], table: str) -> str:
    return " UNION ALL ".join(f"SELECT *, {n} AS partition FROM {schema_of(n)}.{table}" for n in ledgers)
