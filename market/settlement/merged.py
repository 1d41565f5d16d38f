"""The ledgers of one market as readers see them: views in a schema of its own, found before the first ledger's tables.

Of what loans bring with them the views show the rows of all ledgers; cash is added up, with what is on the way, and
the moves from one ledger to another are left out: within the market they are no income and no expense. What has no
view here belongs to no loan and is read where it is, in the first ledger.
"""

from collections.abc import Sequence

import asyncpg

from market.partitions import schema_of

MERGED = "market_all"
LEDGERS = r"SELECT nspname FROM pg_namespace WHERE nspname ~ '^market(_[0-9]+)?$'"

# view -> what it shows of one ledger; {0} is the schema's name
SPREAD = {
    **{
        table: f"SELECT * FROM {{0}}.{table}"
        for table in (
            "command_log",
            "loan",
            "loan_schedule",
            "servicing_event",
            "position",
            "lots",
            "orders",
            "trade",
            "execution",
            "assignment",
            "custody_movement",
            "quarantine",
            "business_day",
        )
    },
    "journal_entry": "SELECT * FROM {0}.journal_entry WHERE kind <> 'cash_move'",
    "posting": "SELECT * FROM {0}.posting WHERE leg <> 'transit'",
}
ADDED_UP = {
    "cash_balance": (
        "SELECT account_id, currency, sum(total)::bigint AS total",
        "SELECT account_id, currency, total - coalesce(moved, 0) AS total "
        "FROM {0}.cash_balance LEFT JOIN {0}.cash_line USING (account_id, currency) WHERE account_id <> '/TRANSIT'",
    ),
    "lending": (
        "SELECT account_id AS originator, currency, sum(lent)::bigint AS lent, sum(transferred)::bigint AS transferred",
        "SELECT originator AS account_id, currency, lent, transferred FROM {0}.lending",
    ),
}


async def ledgers_of(connection: asyncpg.Connection) -> Sequence[int]:
    """Return the partitions whose ledgers there are: 0, 1, ... without a gap, or none in an empty database."""
    names = {row["nspname"] for row in await connection.fetch(LEDGERS)}
    return [partition for partition in range(len(names)) if schema_of(partition) in names]


def search_path(partitions: int) -> str:
    """Return where a reader of a market that is cut into so many partitions finds its tables."""
    return schema_of(0) if partitions == 1 else f"{MERGED},{schema_of(0)}"


async def merge(connection: asyncpg.Connection, partitions: int) -> None:
    """Make the views; there are none yet."""
    schemas = [schema_of(partition) for partition in range(partitions)]
    await connection.execute(f"CREATE SCHEMA {MERGED}")
    for name, part in SPREAD.items():
        await _create(connection, name, _all(schemas, part))
    for name, (sums, part) in ADDED_UP.items():
        await _create(connection, name, f"{sums} FROM ({_all(schemas, part)}) parts GROUP BY account_id, currency")
    await connection.execute(f"GRANT USAGE ON SCHEMA {MERGED} TO debt_market_engine, debt_market_gateway")
    await connection.execute(
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {MERGED} TO debt_market_engine, debt_market_gateway"
    )


def _all(schemas: Sequence[str], part: str) -> str:
    return " UNION ALL ".join(part.format(schema) for schema in schemas)


async def _create(connection: asyncpg.Connection, name: str, query: str) -> None:
    await connection.execute(f"CREATE VIEW {MERGED}.{name} AS {query}")
