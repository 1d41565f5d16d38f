"""Every named constraint and trigger of the schema refuses what it is there for, whoever asks.

The statements run as the owner of the tables, past the writer: this is the last line of defence. The last test reads
the catalogue, so that none is added without a case here.
"""

import asyncpg
import pytest

from tests.integration.settlement.recording import execute, fetchval, opened, traded_market


def changed_copy(table: str, changes: str, where: str = "true") -> str:
    """Insert a copy of one row with some columns changed, a JSON object in SQL."""
    return (
        f"INSERT INTO market.{table} SELECT changed.* FROM (SELECT * FROM market.{table} WHERE {where} LIMIT 1) r, "
        f"json_populate_record(r::market.{table}, '{changes}') changed"
    )


def new_order(changes: str) -> str:
    return changed_copy(
        "orders",
        '{"order_id": 999, "client_order_id": null, "accepted_digest": null, "accepted_status": null, ' + changes + "}",
        "client_order_id = 'first'",
    )


def new_trade(changes: str) -> str:
    return changed_copy("trade", '{"trade_id": 999, ' + changes + "}")


def new_loan(changes: str) -> str:
    return changed_copy("loan", '{"loan_id": "L9", "issued": 0, ' + changes + "}", "loan_id = 'L2'")


def new_event(changes: str) -> str:
    return changed_copy("servicing_event", '{"event_id": "new", "nr": 0, ' + changes + "}")


def new_assignment(changes: str) -> str:
    """Insert another link for the trade that has one: its posting is there."""
    return changed_copy("assignment", "{" + changes + "}", "kind = 'trade'")


def new_user(**changed: str) -> str:
    row = {"user_id": "u", "login": "ada", "password_hash": "$argon2id$", "account_id": "A", "scopes": "{read}"}
    return inserted("web_user", {**row, "created_by": "x", **changed})


def new_session(**changed: str) -> str:
    row = {"token_hash": f"\\x{'00' * 32}", "user_id": "u", "expires_at": "2999-01-01"}
    return inserted("web_session", {**row, **changed})


def inserted(table: str, row: dict[str, str]) -> str:
    values = ", ".join(f"'{value}'" for value in row.values())
    return f"INSERT INTO market.{table} ({', '.join(row)}) VALUES ({values})"


def new_mmp(changes: str) -> str:
    return changed_copy("mmp", '{"mmp_group": "new", ' + changes + "}")


OTHER_LEDGER = (
    "CREATE SCHEMA market_1; CREATE TABLE market_1.cash_receipt (); "
    "CREATE TABLE market_1.loan AS SELECT 'L9' AS loan_id"
)
SENT = "ARRAY[('m', 'A', 'USD', 1, 1, 1, 1)::market.cash_move]"
SEND = f"SELECT market.commit_moves(epoch, seq, {SENT}, '{{}}') FROM market.lease"

# Constraint name -> what it must refuse.
REFUSED = {
    "lease_is_one_row": "INSERT INTO market.lease VALUES (false, 1, 1, '', decode(repeat('00', 32), 'hex'))",
    "lease_seq_not_negative": "INSERT INTO market.lease VALUES (true, 1, -1, '', decode(repeat('00', 32), 'hex'))",
    "lease_log_head_is_sha256": "UPDATE market.lease SET log_head = 'short'",
    "lease_only_advances": "UPDATE market.lease SET epoch = epoch - 1",
    "lease_origin_is_of_a_partition": "INSERT INTO market.lease VALUES (true, 1, 1, '', sha256(''), 5)",
    "command_log_hash_is_sha256": changed_copy("command_log", '{"seq": 999, "hash": "x"}'),
    "market_state_is_one_row": "INSERT INTO market.market_state VALUES (false, 'open', '2024-01-01')",
    "market_state_mode_known": "UPDATE market.market_state SET mode = 'party'",
    "business_date_only_advances": "UPDATE market.market_state SET business_date = business_date - 1",
    "account_id_not_of_the_ledger": changed_copy("account", '{"account_id": "CUSTODY"}'),
    "account_kind_known": "UPDATE market.account SET kind = 'friend'",
    "loan_originator_exists": new_loan('"originator": "nobody"'),
    "loan_currency_is_iso": new_loan('"currency": "gold"'),
    "loan_principal_positive": new_loan('"original_principal": 0, "outstanding": 0, "outstanding_at_registration": 0'),
    "loan_registered_within_principal": new_loan('"outstanding_at_registration": 100000001'),
    "loan_rate_not_negative": new_loan('"annual_rate_ppm": -1'),
    "loan_repayment_method_known": new_loan('"repayment_method": "never"'),
    "loan_term_positive": new_loan('"term_months": 0'),
    "loan_period_positive": new_loan('"months_per_period": 0'),
    "loan_status_known": "UPDATE market.loan SET status = 'lost'",
    "loan_outstanding_within_twice_principal": "UPDATE market.loan SET outstanding = 2 * original_principal + 1",
    "loan_issued_within_principal": "UPDATE market.loan SET issued = original_principal + 1",
    "transferred_within_lent": "UPDATE market.lending SET transferred = lent + 1",
    "loan_paid_not_negative": "UPDATE market.loan SET paid = -1",
    "loan_last_price_positive": "UPDATE market.loan SET last_price = 0",
    "loan_identity_is_fixed": "UPDATE market.loan SET original_principal = original_principal + 1",
    "cash_not_negative": "UPDATE market.cash_balance SET total = -1 WHERE account_id = 'A'",
    "cash_is_conserved": "UPDATE market.cash_balance SET total = total + 1 WHERE account_id = 'A'",
    "face_not_negative": "UPDATE market.position SET face = -1 WHERE account_id = 'A'",
    "face_is_conserved": "UPDATE market.position SET face = face + 1 WHERE account_id = 'A'",
    "cost_not_negative": "UPDATE market.position SET cost = -1",
    "balance_has_an_account": "INSERT INTO market.cash_balance VALUES ('nobody', 'USD', 0)",
    "balances_begin_at_zero": "INSERT INTO market.cash_balance VALUES ('A', 'EUR', 1)",
    "positions_equal_issued_face": "UPDATE market.loan SET issued = issued + 1 WHERE loan_id = 'L2'",
    "rulebook_bears_its_name": "UPDATE market.rulebook SET name = 'other'",
    "default_rulebook_account_exists": "INSERT INTO market.default_rulebook VALUES ('nobody', 'open', 1)",
    "lots_positive": "UPDATE market.lots SET faces[1] = 0 WHERE account_id = 'A'",
    "lots_transfers_not_negative": "UPDATE market.lots SET transfers[1] = -1 WHERE account_id = 'A'",
    "lots_in_columns": "UPDATE market.lots SET transfers = transfers || 1",
    "lots_make_the_position": "SELECT market.commit_lots(epoch, seq, '{}', "
    "ARRAY[('A', 'L1', 1, 0, 0)::market.position]) FROM market.lease",
    "custody_amount_not_zero": changed_copy("custody_movement", '{"custody_ref": "new", "amount": 0}'),
    "trade_settles_once": changed_copy("journal_entry", '{"entry_id": 999}', "kind = 'trade'"),
    "posting_unit_known": changed_copy("posting", '{"leg_no": 99, "unit": "love"}'),
    "posting_amount_not_zero": changed_copy("posting", '{"leg_no": 99, "amount": 0}'),
    "postings_sum_to_zero": changed_copy("posting", '{"leg_no": 99}'),
    "posting_has_its_entry": "INSERT INTO market.posting VALUES "
    "('A', 999, 0, 'cash', 'USD', 'fee', 1), ('B', 999, 1, 'cash', 'USD', 'fee', -1)",
    "client_order_id_used_once": new_order('"client_order_id": "first"'),
    "orders_side_known": new_order('"side": "hold"'),
    "orders_price_positive": new_order('"price": 0'),
    "orders_cost_not_negative": new_order('"cum_cost": -1'),
    "orders_turnover_not_negative": new_order('"turnover": -1'),
    "orders_status_known": new_order('"status": "lost", "is_open": false, "hold": 0'),
    "orders_open_by_status": new_order('"is_open": false, "hold": 0'),
    "orders_add_up": new_order('"leaves": 1, "shown": 1'),
    "orders_shown_within_leaves": new_order('"shown": 99999999'),
    "orders_hold_ends_with_order": new_order('"status": "canceled", "is_open": false, "hold": 1'),
    "orders_answer_has_client_id": new_order('"accepted_digest": "x", "accepted_status": "new"'),
    "orders_yield_by_type": new_order('"limit_yield_ppm": 120000'),
    "orders_peg_needs_yield": new_order('"pegged": true'),
    "order_identity_is_fixed": "UPDATE market.orders SET account_id = 'B' WHERE is_open",
    "order_only_advances": "UPDATE market.orders SET filled = 0, leaves = quantity WHERE is_open AND filled > 0",
    "trade_between_two": new_trade('"seller": "A"'),
    "trade_price_positive": new_trade('"price": 0'),
    "trade_quantity_positive": new_trade('"quantity": 0'),
    "trade_taker_side_known": new_trade('"taker_side": "both"'),
    "trade_amounts_not_negative": new_trade('"buyer_fee": -1'),
    "trade_has_its_entry": new_trade('"price": 9800'),
    "servicing_loan_exists": new_event('"loan_id": "L9", "distributed": 0'),
    "servicing_type_known": new_event('"type": "party", "distributed": 0'),
    "servicing_amounts_not_negative": new_event('"interest": -1, "distributed": 0'),
    "servicing_pays_out_what_came_in": new_event('"interest": 0, "principal": 1, "distributed": 2'),
    "servicing_has_its_entry": new_event('"distributed": 1'),
    "servicing_settles_once": changed_copy("journal_entry", '{"entry_id": 999}', "kind = 'servicing'"),
    "schedule_loan_exists": changed_copy("loan_schedule", '{"loan_id": "L9"}'),
    "title_secret_is_one_row": "INSERT INTO market.title_secret VALUES (false, sha256('x'))",
    "title_secret_is_long": "INSERT INTO market.title_secret VALUES (true, 'short')",
    "entry_assigns_once": new_assignment('"n": 0'),
    "assignment_kind_known": new_assignment('"kind": "gift", "trade_id": null'),
    "assignment_names_its_trade": new_assignment('"trade_id": null'),
    "assignment_face_positive": new_assignment('"assignor": "A", "assignee": "ORIG", "face": -100000'),
    "assignment_between_two": new_assignment('"assignor": "A"'),
    "assignment_has_its_posting": new_assignment('"face": 1'),
    "face_moves_between_two": "INSERT INTO market.posting "
    "SELECT leg.account_id, entry_id, leg.no, 'face', 'L1', 'claim', leg.face FROM market.journal_entry, "
    "(VALUES ('A', 90, 1), ('B', 91, 1), ('ORIG', 92, -2)) leg (account_id, no, face) WHERE kind = 'trade'",
    "executions_are_gapless": changed_copy("execution", '{"sequence": 999}'),
    "kill_switch_account_exists": "INSERT INTO market.kill_switch VALUES ('nobody', true, 1)",
    "fenced_id_account_exists": "INSERT INTO market.fenced_id VALUES ('nobody', 'c', 1)",
    "fenced_id_has_no_order": "INSERT INTO market.fenced_id VALUES ('ORIG', 'first', 1)",
    "mmp_account_exists": new_mmp('"account_id": "nobody"'),
    "mmp_max_fills_positive": new_mmp('"max_fills": 0'),
    "mmp_max_face_positive": new_mmp('"max_face": 0'),
    "mmp_window_positive": new_mmp('"window_ns": 0'),
    "mmp_has_a_bound": new_mmp('"max_fills": null'),
    "log_is_gapless": changed_copy("command_log", '{"seq": 999}'),
    "cash_move_account_exists": "INSERT INTO market.cash_move VALUES ('m', 'nobody', 'USD', 1, 1, 1, 1)",
    "cash_move_positive": "INSERT INTO market.cash_move VALUES ('m', 'A', 'USD', 0, 1, 1, 1)",
    "cash_receipt_account_exists": "INSERT INTO market.cash_receipt VALUES (1, 'm', 'nobody', 'USD', 1, 1, 0, 1, 1)",
    "cash_receipt_positive": "INSERT INTO market.cash_receipt VALUES (1, 'm', 'A', 'USD', 0, 1, 0, 1, 1)",
    "cash_receipt_is_not_before_itself": "INSERT INTO market.cash_receipt VALUES (1, 'm', 'A', 'USD', 1, 5, 6, 1, 1)",
    "cash_before_is_received": "CREATE SCHEMA market_1; CREATE TABLE market_1.cash_move (LIKE market.cash_move); "
    "INSERT INTO market_1.cash_move VALUES ('due', 'A', 'USD', 1, 0, 4, 1), ('m', 'A', 'USD', 1, 0, 5, 1); "
    "SELECT market.commit_moves(epoch, seq, '{}', "
    "ARRAY[(1, 'm', 'A', 'USD', 1, 5, 5, 1, 1)::market.cash_receipt]) FROM market.lease",
    "cash_is_sent_to_a_ledger": SEND,
    "cash_received_was_sent": "SELECT market.commit_moves(epoch, seq, '{}', "
    "ARRAY[(0, 'm', 'A', 'USD', 1, 1, 0, 1, 1)::market.cash_receipt]) FROM market.lease",
    "cash_move_has_its_entry": f"{OTHER_LEDGER}; {SEND}",
    "transit_is_what_moved": f"{OTHER_LEDGER}; "
    "INSERT INTO market.journal_entry VALUES (999, 'cash_move', 'to 1 m', 1, 1); "
    "INSERT INTO market.posting VALUES ('A', 999, 0, 'cash', 'USD', 'transit', -1), "
    f"('/TRANSIT', 999, 1, 'cash', 'USD', 'transit', 1); {SEND}",
    "loan_has_one_home": f"{OTHER_LEDGER}; " + new_loan('"region": "x"'),
    "api_key_account_exists": "INSERT INTO market.api_key (key, account_id, secret, scopes, created_by) "
    "VALUES ('k', 'nobody', '', '{read}', '')",
    "facade_nonce_key_exists": "INSERT INTO market.facade_nonce VALUES ('no key', 1)",
    "facade_nonce_positive": "INSERT INTO market.facade_nonce VALUES ('no key', 0)",
    "api_key_scopes_known": "INSERT INTO market.api_key (key, account_id, secret, scopes, created_by) "
    "VALUES ('k', 'A', '', '{everything}', '')",
    "web_user_account_exists": new_user(account_id="nobody"),
    "web_user_scopes_known": new_user(scopes="{everything}"),
    "web_user_login_is_plain": new_user(login="Ada"),
    "web_user_login_is_one": f"{new_user()}; {new_user(user_id='v')}",
    "web_user_password_is_hashed": new_user(password_hash="correct horse battery"),
    "web_session_user_exists": new_session(user_id="nobody"),
    "web_session_token_is_sha256": f"{new_user()}; {new_session(token_hash='token')}",
    "web_session_user_agent_is_short": f"{new_user()}; {new_session(user_agent='x' * 201)}",
    "web_session_ends": f"{new_user()}; {new_session(expires_at='2000-01-01')}",
}
MORE = [  # other ways to break what the list above covers once
    ("balances_begin_at_zero", "INSERT INTO market.position VALUES ('A', 'L2', 1, 0, 0)"),
    ("balance_has_an_account", "INSERT INTO market.position VALUES ('nobody', 'L2', 0, 0, 0)"),
    ("cash_is_conserved", "UPDATE market.cash_balance SET total = 1 WHERE account_id = 'CUSTODY'"),
    ("lease_only_advances", "UPDATE market.lease SET origin = 1::bigint << 36"),
    ("cash_not_negative", "INSERT INTO market.cash_balance VALUES ('ISSUE', 'USD', 0)"),
    ("face_not_negative", "UPDATE market.position SET face = 1 WHERE account_id = 'ISSUE'"),
    ("lease_only_advances", "UPDATE market.lease SET seq = seq - 1"),
    ("order_only_advances", "UPDATE market.orders SET tag = 'again' WHERE NOT is_open"),
    ("order_identity_is_fixed", "UPDATE market.orders SET accepted_filled = 1 WHERE client_order_id = 'first'"),
    ("loan_identity_is_fixed", "UPDATE market.loan SET issued = issued - 1 WHERE issued > 0"),
    (
        "positions_equal_issued_face",  # face from nowhere, balanced, but not issued
        "UPDATE market.position SET face = face + CASE account_id WHEN 'ISSUE' THEN -1 ELSE 1 END "
        "WHERE loan_id = 'L1' AND account_id IN ('ISSUE', 'A')",
    ),
]


@pytest.fixture
async def ledger(database: str) -> str:
    async with opened(database) as store:
        await store.commit(traded_market().take())
    return database


@pytest.mark.parametrize(("constraint", "statement"), [*REFUSED.items(), *MORE])
async def test_the_database_refuses(ledger: str, constraint: str, statement: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
        await execute(ledger, statement)
    assert refusal.value.constraint_name == constraint


async def test_every_rule_of_the_schema_has_a_case_here(database: str) -> None:
    named = await fetchval(
        database,
        """SELECT array_agg(DISTINCT conname::text) FROM pg_constraint
           WHERE connamespace = 'market'::regnamespace AND contype IN ('c', 'f')""",
    )
    raised = await fetchval(
        database,
        r"""SELECT array_agg(DISTINCT found[1]) FROM pg_proc,
            regexp_matches(prosrc, 'violated\(''(\w+)''', 'g') found WHERE pronamespace = 'market'::regnamespace""",
    )
    refused = await fetchval(
        database,
        r"""SELECT array_agg(DISTINCT convert_from(substr(tgargs, 1, length(tgargs) - 1), 'UTF8')) FROM pg_trigger
            WHERE NOT tgisinternal AND length(tgargs) > 0""",
    )
    elsewhere = {
        "history_is_append_only",  # test_roles
        "rows_are_never_deleted",  # test_roles
        "cash_is_what_memory_says",  # test_writer
        "face_is_what_memory_says",  # test_writer
    }
    unique = {  # indices that are rules
        *("trade_settles_once", "client_order_id_used_once", "servicing_settles_once", "entry_assigns_once"),
        "web_user_login_is_one",
    }
    assert {*named, *raised, *refused} == {*REFUSED, *elsewhere} - unique
