"""The command line as a whole: `App` lists what there is, `main` runs it."""

import sys

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliSubCommand,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    get_subcommand,
)

from gateway.cli.bench import Bench, bench
from gateway.cli.calls import ClientSettings, DayRoll, ImportLoans, Service
from gateway.cli.ledger import Check, DatabaseCommand, Migrate, Replay, VerifyTitle
from gateway.cli.processes import Demo, Engine, Gateway, Serve, Standby
from gateway.cli.shell import REFUSED, USAGE, UsageError, fail, said
from gateway.cli.terminal import Terminal
from gateway.demo.run import DemoSettings
from gateway.process.config import Settings
from gateway.process.lifecycle import StartError

README_SETTINGS = (Settings, DemoSettings, ClientSettings)  # what README's table shows


class App(BaseSettings):
    """
    debt-market: a secondary market for loan claims.

    Start with `debt-market demo`. Every setting is a flag, a variable DEBT_MARKET_<NAME>, or a line of .env, in this
    order. Exit codes: 0 done, 1 refused with reasons, 2 wrong usage.
    """

    model_config = SettingsConfigDict(
        cli_prog_name="debt-market",
        cli_kebab_case=True,
        cli_implicit_flags="toggle",
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_enforce_required=False,
    )

    serve: CliSubCommand[Serve] = Field(description="run the market")
    engine: CliSubCommand[Engine] = Field(description="run the engine alone, for gateways in other processes")
    standby: CliSubCommand[Standby] = Field(description="run an engine that takes over when the first one fails")
    gateway: CliSubCommand[Gateway] = Field(description="run a gateway over an engine in another process")
    demo: CliSubCommand[Demo] = Field(description="run a market with made-up loans and traders, to look at")
    import_loans: CliSubCommand[ImportLoans] = Field(description="register the loans of a CSV file")
    service: CliSubCommand[Service] = Field(description="book a CSV file of servicing events")
    terminal: CliSubCommand[Terminal] = Field(description="a market-maker's screen, on a running market")
    day_roll: CliSubCommand[DayRoll] = Field(description="move the business date forward")
    migrate: CliSubCommand[Migrate] = Field(description="bring a database to this version's schema")
    check: CliSubCommand[Check] = Field(description="verify log, balances and positions from the tables")
    verify_title: CliSubCommand[VerifyTitle] = Field(description="verify a loan's chain of title from saved pages")
    replay: CliSubCommand[Replay] = Field(description="rebuild the state from the log and compare")
    bench: CliSubCommand[Bench] = Field(description="run a benchmark")

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls,
        _settings: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        **_: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags alone choose the command: an environment variable named DEMO is somebody else's."""
        return (init_settings,)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        sys.exit(run(given))
    except UsageError as e:
        fail(str(e), USAGE)
    except StartError as e:
        fail(str(e), REFUSED)
    except KeyboardInterrupt:
        sys.exit(130)  # as shells say: ended by SIGINT


def run(arguments: list[str]) -> int:
    """Return the exit code of a command line. Raises UsageError, StartError; SystemExit after --help."""
    if arguments[:1] == ["bench"] and not {"-h", "--help"} & set(arguments[1:2]):
        return bench(arguments[1:])
    try:
        command = get_subcommand(CliApp.run(App, cli_args=arguments or ["--help"]))
    except ValidationError as e:
        raise UsageError("; ".join(map(said, e.errors()))) from e
    assert isinstance(
        command,
        Serve
        | Engine
        | Standby
        | Gateway
        | Demo
        | ImportLoans
        | Service
        | Terminal
        | DayRoll
        | VerifyTitle
        | DatabaseCommand,
    )
    return command.run()
