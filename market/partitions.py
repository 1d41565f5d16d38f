"""How one market is cut into partitions of loans: each has a ledger, an engine and a range of numbers of its own.

Partition 0 is the market as it is without any cut: its ledger is the schema `market`, its numbers begin at 1. It alone
keeps what belongs to no loan: credentials, deposits and withdrawals. The ledger of partition k is the schema
`market_k`, a whole one of its own.

Numbers that the market gives (commands, orders, trades, journal entries, quotes) begin at k * STRIDE in partition k, so
that they are unique over all of them and tell where they come from.
"""

from hashlib import blake2b

from market.ids import FIRST_QUOTE_ID, LoanId, Seq

STRIDE = 1 << 36  # commands of one partition: a thousand per second for two years, a hundred for twenty
PARTITIONS_MAX = 64  # quotes and journal entries are numbered by command << 20, and must fit 63 bits
QUOTES_STRIDE = STRIDE << 20


def seq_before(partition: int) -> Seq:
    """Return the number that the first command of a partition follows; that of its trades, too."""
    return Seq(partition * STRIDE)


def partition_of(number: int) -> int:
    """Return the partition in which a command, an order, a quote or a trade was numbered."""
    if number >= FIRST_QUOTE_ID:
        return (number - FIRST_QUOTE_ID) // QUOTES_STRIDE
    return number // STRIDE


def home_of(loan_id: LoanId, partitions: int) -> int:
    """Return the partition in which a loan that none knows yet is registered: the same in every process.

    A loan stays where it was registered, however many partitions there are later.
    """
    if partitions == 1:
        return 0
    return int.from_bytes(blake2b(loan_id.encode(), digest_size=8).digest()) % partitions


def schema_of(partition: int) -> str:
    """Return the name of the schema that is a partition's ledger."""
    return "market" if partition == 0 else f"market_{partition}"
