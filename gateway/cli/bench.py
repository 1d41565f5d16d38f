"""The command that runs benchmarks."""

import runpy
import sys
from pathlib import Path

from pydantic_settings import BaseSettings

from gateway.cli.shell import DONE, UsageError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


class Bench(BaseSettings):
    """
    Run one of the benchmarks that stand behind the claims of speed; --list names them.

    Examples:
      debt-market bench --list
      debt-market bench bulk_yields --smoke
    """


def bench(arguments: list[str]) -> int:
    """Run benchmarks/NAME.py with the arguments after its name, as if it had been started by itself."""
    scripts = {path.stem: path for path in sorted(BENCHMARKS.glob("[a-z]*.py"))}
    if arguments in ([], ["--list"]):
        print("\n".join(scripts) or f"no benchmarks in {BENCHMARKS}: they are in the source tree only")
        return DONE
    name = arguments[0].removesuffix(".py")
    if name not in scripts:
        raise UsageError(f"there is no benchmark {name}; there are {', '.join(scripts) or 'none'}")
    sys.argv = [str(scripts[name]), *arguments[1:]]
    sys.path.insert(0, str(BENCHMARKS))
    runpy.run_path(str(scripts[name]), run_name="__main__")
    return DONE
