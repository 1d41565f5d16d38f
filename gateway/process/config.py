"""Settings of the service: one class, read from flags, then DEBT_MARKET_* variables, then .env, checked once at start.

Every queue, cache, retry and wait has its limit here, with its unit in the name. README has a table made from it.
"""

import logging
import re
from datetime import UTC, date, datetime, tzinfo
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.access.addresses import Network
from gateway.process.logs import LogFormat
from market.bus.connect import client_of
from market.bus.names import Names
from market.ids import Currency, Minor
from market.partitions import PARTITIONS_MAX

ENV_PREFIX = "DEBT_MARKET_"
ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:-]+")
CASH = re.compile(r"[A-Z]{3}:[0-9]{1,12}\.[0-9]{2}")


class EnvSettings(BaseSettings):
    """What every command has in common: where its settings come from."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_prefix_target="all",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, given: Any) -> Any:
        """Take what is secret from the file that `NAME_file` names: arguments and environments are read by others."""
        if not isinstance(given, dict):
            return given
        for name, field in cls.model_fields.items():
            file = given.get(f"{name}_file")
            if field.repr or not file:
                continue
            flag = "--" + name.replace("_", "-")
            if given.get(name):
                raise ValueError(f"{flag} and {flag}-file exclude each other")
            try:
                given = {**given, name: Path(file).read_text().strip()}
            except (OSError, UnicodeDecodeError) as e:
                raise ValueError(f"{flag}-file: {file} can't be read: {e}") from e
        return given


class DatabaseSettings(EnvSettings):
    """Where the market's data is."""

    embedded: bool = Field(
        default=False, description="run a private PostgreSQL in the data folder (as without --database-url)"
    )
    data_dir: Path = Field(default=Path("data/market"), description="data folder of the private PostgreSQL")
    database_url: str | None = Field(
        default=None,
        repr=False,
        description="PostgreSQL 15 or newer to use instead: postgresql://user:password@host/name",
    )
    database_url_file: Path | None = Field(default=None, description="file with the URL")
    database_password_file: Path | None = Field(default=None, description="file with the password, kept out of the URL")

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        if self.embedded and self.database_url:
            raise ValueError("--embedded and --database-url exclude each other")
        return self

    def external_dsn(self) -> str | None:
        """Return the address of the PostgreSQL that is not ours to start, password included. Raises OSError."""
        if self.database_url is None or self.database_password_file is None:
            return self.database_url
        url = urlsplit(self.database_url)
        user, _, host = url.netloc.rpartition("@")
        password = quote(self.database_password_file.read_text().strip(), safe="")
        return urlunsplit(url._replace(netloc=f"{user.partition(':')[0]}:{password}@{host}"))


class Settings(DatabaseSettings):
    """All settings of the service."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, ge=0, le=65_535, description="TCP port; 0 takes a free one (see --ready-file)")
    ready_file: Path | None = Field(
        default=None, description="once ready, write url, ws_url, pid and the admin key there as JSON, mode 0600"
    )
    business_date: date | None = Field(default=None, description="first business date of a new market (default: today)")
    time_zone: str = Field(default="UTC", description="the market's time zone, IANA name: decides what today is")
    auto_day_roll: bool = Field(
        default=False,
        description="roll the business day at the time zone's midnight, and catch up missed days",
    )
    metrics_host: str = Field(default="127.0.0.1", description="address of --metrics-port")
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="TCP port of engine and standby for /metrics, /healthz and /readyz; 0 takes a free one",
    )
    audit_every_s: float = Field(
        default=60.0, ge=0, description="time between two reconciliations shown in /metrics, seconds; 0 for none"
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR; log lines go to standard error")
    log_format: LogFormat = Field(default=LogFormat.TEXT, description="text, or json: one object a line")
    trace_url: str | None = Field(
        default=None,
        description="collector that takes OTLP over HTTP: http://127.0.0.1:4318/v1/traces (needs the extra otel)",
    )

    ws_echo: bool = Field(default=False, description="add /ws/echo, for WebSocket conformance suites")
    ws_backlog_bytes_max: int = Field(
        default=1 << 20, ge=1, description="what one socket may leave unread before it is closed"
    )
    ws_conflate_bytes: int = Field(
        default=128 << 10, ge=1, description="unread bytes above which a socket's quotes are merged"
    )
    ws_behind_s_max: float = Field(default=5.0, gt=0, description="a socket that is longer behind is closed, seconds")
    ws_silence_s_max: float = Field(default=60.0, gt=0, description="a socket that is longer silent is closed, seconds")
    ws_ping_s: float = Field(default=15.0, gt=0, description="time between pings to a socket, seconds")
    ws_subscriptions_max: int = Field(default=20_000, ge=1, description="subscriptions of one socket")
    ws_replay_bytes_max: int = Field(
        default=128 << 20, ge=0, description="steps of books kept for sockets that come back; 10,000 a book at most"
    )
    ws_boards_max: int = Field(default=500, ge=1, description="different boards that all sockets may look at")

    rate_orders_per_s: int = Field(default=2_000, ge=1, description="orders per account; cancels have ten times that")
    rate_amends_per_s: int = Field(default=2_000, ge=1, description="amends per account")
    rate_queries_per_s: int = Field(default=1_000, ge=1, description="questions per account")
    rate_subscriptions_per_s: int = Field(default=1_000, ge=1, description="private subscriptions per account")
    rate_public_per_s: int = Field(default=2_000, ge=1, description="requests without a login from one address")
    rate_burst_s: int = Field(default=5, ge=1, description="an account may save up so many seconds of each rate")

    allow_signup: bool = Field(
        default=False, description="let strangers sign up: an investor's account with a password (the demo does)"
    )
    signup_cash: str = Field(
        default="", description="simulated cash of everybody who signs up, such as CNY:100000.00,USD:10000.00"
    )
    signups_per_h: int = Field(default=60, ge=1, description="new accounts from one address, per hour")
    web_session_h: int = Field(default=12, ge=1, le=24 * 365, description="a browser stays signed in, hours")
    public_url: str | None = Field(
        default=None, description="where browsers reach a service behind a proxy: https://market.example"
    )
    allowed_origins: str = Field(
        default="", description="further sites whose pages may use the service, separated by commas"
    )
    trusted_proxies: str = Field(
        default="",
        description="networks of proxies whose X-Forwarded-For says who asks: 10.0.0.0/8,192.0.2.7",
    )

    inbox_max: int = Field(
        default=20_000, ge=1, description="commands that wait for the engine; more are refused as busy"
    )
    batch_max: int = Field(default=1_000, ge=1, description="commands in one commit")
    reopen_s: float = Field(
        default=1.0, ge=0, description="after a failure or takeover only cancels are taken, seconds"
    )
    resolve_timeout_s: float = Field(default=10.0, gt=0, description="a client waits for a doubtful outcome, seconds")
    lease_wait_s: float = Field(default=5.0, ge=0, description="wait at start for another engine to end, seconds")
    takeover: bool = Field(default=False, description="end the session of another engine that does not give way")
    reconnect_s: float = Field(default=30.0, gt=0, description="try to reach PostgreSQL for so long, seconds")
    redis_url: str | None = Field(
        None,
        repr=False,
        description="Redis that joins engine and gateways, and remembers used signatures: redis://host:6379/0, "
        "or some nodes of a cluster: redis+cluster://host:6379,host:6379",
    )
    redis_url_file: Path | None = Field(default=None, description="file with the URL, which may have a password")
    bus_prefix: str = Field("debt-market", description="names of one market in a Redis that several share begin so")
    partitions: int = Field(
        1, ge=1, le=PARTITIONS_MAX, description="parts of the market's loans, each with an engine of its own"
    )
    partition: int = Field(0, ge=0, description="which of them an engine or a standby is of, counted from 0")
    cash_line_idle_s: float = Field(
        60.0, gt=0, description="cash that lay so long idle in a later partition goes back to the first, seconds"
    )
    leader_quiet_s: float = Field(
        1.5, gt=0, description="an engine that is silent for so long is away: a standby takes over, seconds"
    )
    redis_timeout_s: float = Field(1.0, gt=0, description="the longest that Redis may take to answer, seconds")
    pool_connections_max: int = Field(default=8, ge=1, description="PostgreSQL connections for reading")
    day_trades_max: int = Field(default=50_000, ge=0, description="trades read at start for the 24-hour statistics")
    statistics_age_s_max: float = Field(
        default=15.0,
        ge=0,
        description="market statistics may be so old, seconds",
    )
    query_timeout_s: float = Field(default=10.0, gt=0, description="the longest that a reading query may take, seconds")
    http_idle_s: int = Field(
        default=75, ge=1, description="a connection may take so long to ask, first or again, seconds"
    )
    drain_timeout_s: float = Field(default=10.0, ge=0, description="commands under way at a stop may take, seconds")
    shutdown_timeout_s: float = Field(default=5.0, ge=0, description="requests under way at a stop may take, seconds")

    @model_validator(mode="after")
    def _is_one_of_the_partitions(self) -> Self:
        if self.partition >= self.partitions:
            raise ValueError(f"--partition {self.partition} is none of {self.partitions}, which are counted from 0")
        return self

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        try:
            _zone(name)
        except (KeyError, ValueError, OSError) as e:
            raise ValueError(f"no time zone {name}") from e
        return name

    @field_validator("log_level")
    @classmethod
    def _is_a_level(cls, name: str) -> str:
        if name.upper() not in logging.getLevelNamesMapping():
            raise ValueError(f"no log level {name}")
        return name.upper()

    @field_validator("public_url")
    @classmethod
    def _is_an_origin(cls, url: str | None) -> str | None:
        if url is not None and not ORIGIN.fullmatch(url.rstrip("/")):
            raise ValueError("must be like https://market.example, without a path")
        return None if url is None else url.rstrip("/")

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, text: str) -> str:
        for origin in filter(None, text.split(",")):
            if not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin} is not like https://market.example")
        return text

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        for each in filter(None, text.split(",")):
            ip_network(each.strip())  # its ValueError says what is wrong
        return text

    @field_validator("redis_url")
    @classmethod
    def _is_of_a_redis(cls, url: str | None) -> str | None:
        if url is not None:
            client_of(url, Names(), timeout_s=1.0)  # connects when it is used; its ValueError says what is wrong
        return url

    @field_validator("signup_cash")
    @classmethod
    def _is_cash(cls, text: str) -> str:
        for each in filter(None, text.split(",")):
            if not CASH.fullmatch(each):
                raise ValueError(f"{each} is not like CNY:100000.00")
        return text

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the service by https only."""
        return self.public_url is not None and self.public_url.startswith("https:")

    @property
    def origins(self) -> frozenset[str]:
        """Where pages may come from, beside the host that they ask."""
        return frozenset(filter(None, [self.public_url, *self.allowed_origins.split(",")]))

    @property
    def proxies(self) -> tuple[Network, ...]:
        return tuple(ip_network(each.strip()) for each in self.trusted_proxies.split(",") if each)

    @property
    def simulated_cash(self) -> dict[Currency, Minor]:
        amounts = (each.split(":") for each in self.signup_cash.split(",") if each)
        return {Currency(currency): Minor(int(amount.replace(".", ""))) for currency, amount in amounts}

    @property
    def zone(self) -> tzinfo:
        return _zone(self.time_zone)

    @property
    def first_business_date(self) -> date:
        return self.business_date or datetime.now(self.zone).date()


def _zone(name: str) -> tzinfo:
    """Return a time zone; UTC also where the system has no table of zones."""
    return UTC if name == "UTC" else ZoneInfo(name)


def settings_table(*classes: type[BaseSettings]) -> str:
    """Return the table of settings for README.md, in Markdown. Of a setting in several classes the first is shown."""
    fields: dict[str, FieldInfo] = {}
    for settings in classes:
        for name, field in settings.model_fields.items():
            fields.setdefault(field.alias or name, field)
    rows = [_row(name, field.default, field.description) for name, field in fields.items()]
    return "\n".join(["| variable | flag | default | what |", "|---|---|---|---|", *rows]) + "\n"


def _row(name: str, default: object, description: str | None) -> str:
    shown = "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
    return f"| `{ENV_PREFIX}{name.upper()}` | `--{name.replace('_', '-')}` | {shown} | {description} |"
