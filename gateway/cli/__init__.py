"""The debt-market command.

Each command is a class of settings, so that flags, DEBT_MARKET_* variables, .env and --help come from one place, with a
`run` that returns the exit code: 0 done, 1 refused with reasons, 2 wrong usage.
"""

from gateway.cli.app import main

__all__ = ["main"]
