"""Who may do what: the engine writes through its one function, the gateway writes keys, nobody rewrites history."""

import asyncpg
import pytest

from tests.integration.settlement.recording import execute, fetchval, opened, traded_market

ENGINE, GATEWAY = "debt_market_engine", "debt_market_gateway"
HISTORY = [
    *("command_log", "trade", "journal_entry", "posting", "execution", "custody_movement", "servicing_event"),
    *("quarantine", "fenced_id", "assignment", "cash_move", "cash_receipt"),
]
STATE = [
    *("lease", "market_state", "account", "loan", "cash_balance", "position", "orders", "loan_schedule", "kill_switch"),
    *("lending", "cash_line"),
]
COMMIT_NOTHING = f"SELECT market.commit_batch(0, 0, 0, ''{', NULL' * 15})"


async def as_role(dsn: str, role: str, statement: str) -> None:
    await execute(dsn, f"SET ROLE {role}", statement)


@pytest.mark.parametrize("role", [ENGINE, GATEWAY, "public"])
@pytest.mark.parametrize("table", [*HISTORY, *STATE])
async def test_no_role_changes_the_ledger_past_the_fence(database: str, role: str, table: str) -> None:
    """Neither the whole table nor a column of it. The engine may add to the quarantine, which settles nothing."""
    for right in ("INSERT", "UPDATE", "DELETE", "TRUNCATE"):
        per_column = (
            f", has_any_column_privilege('{role}', 'market.{table}', '{right}')" if right in "INSERT UPDATE" else ""
        )
        query = f"SELECT true = ANY (ARRAY[has_table_privilege('{role}', 'market.{table}', '{right}'){per_column}])"
        allowed = (role, table, right) == (ENGINE, "quarantine", "INSERT")
        assert await fetchval(database, query) is allowed, right


async def test_a_balance_is_out_of_reach(database: str) -> None:
    for role in (ENGINE, GATEWAY):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await as_role(database, role, "UPDATE market.cash_balance SET total = total + 1")


async def test_only_the_engine_may_call_the_writer(database: str) -> None:
    controls = "SELECT market.commit_controls(0, 0, '{}', '{}')"
    moves = "SELECT market.commit_moves(0, 0, '{}', '{}')"
    for function in (COMMIT_NOTHING, "SELECT market.raise_epoch('x', false)", controls, moves):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await as_role(database, GATEWAY, function)
    await as_role(database, ENGINE, "SELECT market.raise_epoch('x', false)")


async def test_not_even_the_engine_may_move_the_fence_by_hand(database: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await as_role(database, ENGINE, "SELECT market.fence(0, 0, 1, '')")


@pytest.mark.parametrize("table", [*HISTORY, *STATE, "migration"])
@pytest.mark.parametrize("role", [ENGINE, GATEWAY])
async def test_both_read_the_ledger(database: str, role: str, table: str) -> None:
    await as_role(database, role, f"SELECT FROM market.{table}")


async def test_keys_belong_to_the_gateway(database: str) -> None:
    async with opened(database) as store:
        await store.commit(traded_market().take())
    columns = "key, account_id, secret, scopes, created_by"
    await as_role(database, GATEWAY, f"INSERT INTO market.api_key ({columns}) VALUES ('ak', 'A', 's', '{{read}}', 'x')")
    await as_role(database, GATEWAY, "UPDATE market.api_key SET revoked_at = now()")
    for role, statement in (
        (ENGINE, "SELECT secret FROM market.api_key"),
        (ENGINE, "UPDATE market.api_key SET revoked_at = NULL"),
        (GATEWAY, "UPDATE market.api_key SET secret = 'known'"),
        (GATEWAY, "DELETE FROM market.api_key"),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await as_role(database, role, statement)


async def test_logins_and_sessions_belong_to_the_gateway(database: str) -> None:
    async with opened(database) as store:
        await store.commit(traded_market().take())
    user = "INSERT INTO market.web_user VALUES ('u', 'ada', '$argon2id$', 'A', '{read}', now(), 'x')"
    session = f"INSERT INTO market.web_session VALUES ('\\x{'00' * 32}', 'u', now(), '2999-01-01')"
    changed = "UPDATE market.web_user SET password_hash = '$argon2id$2'"
    for statement in (user, session, changed, "DELETE FROM market.web_session"):
        await as_role(database, GATEWAY, statement)
    for role, statement in (
        (ENGINE, "SELECT login FROM market.web_user"),
        (ENGINE, "SELECT FROM market.web_session"),
        (GATEWAY, "UPDATE market.web_user SET scopes = '{admin}'"),
        (GATEWAY, "UPDATE market.web_user SET account_id = 'B'"),
        (GATEWAY, "UPDATE market.web_session SET expires_at = '2999-01-01'"),
        (GATEWAY, "DELETE FROM market.web_user"),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await as_role(database, role, statement)


@pytest.mark.parametrize("table", HISTORY)
@pytest.mark.parametrize("statement", ["UPDATE market.{} SET {} = {}", "DELETE FROM market.{}", "TRUNCATE market.{}"])
async def test_history_is_append_only_for_its_owner_too(database: str, table: str, statement: str) -> None:
    column = {
        **{"execution": "account_id", "posting": "leg", "quarantine": "error", "trade": "loan_id"},
        **{"journal_entry": "reference", "custody_movement": "custody_ref", "assignment": "n"},
    }.get(table, "seq")
    with pytest.raises(asyncpg.RestrictViolationError) as refusal:
        await execute(database, statement.format(table, column, column))
    assert refusal.value.constraint_name == "history_is_append_only"


@pytest.mark.parametrize("table", STATE)
@pytest.mark.parametrize("statement", ["DELETE FROM market.{}", "TRUNCATE market.{} CASCADE"])
async def test_state_is_never_deleted(database: str, table: str, statement: str) -> None:
    with pytest.raises(asyncpg.RestrictViolationError) as refusal:
        await execute(database, statement.format(table))
    assert refusal.value.constraint_name == "rows_are_never_deleted"
