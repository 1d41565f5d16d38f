"""The command log's lines: a command as text and back, and the hash that chains each line to all before it.

A command's kind is the name of its class; a class that was ever logged keeps its name and its fields' meaning.
"""

from hashlib import sha256
from typing import Any, get_args

from market.commands import Command
from market.ids import Nanos, Seq
from market.settlement.codec import dumps, loads

GENESIS = bytes(32)  # what the first line is chained to
KINDS: dict[str, type[Any]] = {command.__name__: command for command in get_args(Command)}


def encode(command: Command) -> tuple[str, str]:
    """Return the command's kind and its body as JSON, the same text for equal commands."""
    return type(command).__name__, dumps(command)


def decode(kind: str, body: str) -> Command:
    """Return the command that was encoded. Raises ValueError for a kind or body that this version does not know."""
    if kind not in KINDS:
        raise ValueError(f"the log holds a command of unknown kind {kind!r}")
    command: Command = loads(KINDS[kind], body)
    return command


def chain(previous: bytes, seq: Seq, at: Nanos, actor: str, kind: str, body: str) -> bytes:
    """Return the SHA-256 of a line: the hash before it, then its parts, parted by NUL, which is in none."""
    return sha256(previous + f"{seq}\0{at}\0{actor}\0{kind}\0{body}".encode()).digest()
