"""Settings: where they come from, what is refused, and the table of them in README.md.

`python -m tests.unit.gateway.test_config` writes the table anew.
"""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.cli.app import README_SETTINGS
from gateway.process.config import Settings, settings_table

README = Path(__file__).resolve().parents[3] / "README.md"
SECTION = re.compile(r"(?<=<!-- settings -->\n).*?(?=<!-- /settings -->)", re.DOTALL)


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # away from our .env
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DEBT_MARKET_{name.upper()}", raising=False)


def test_the_readme_has_the_table_of_settings() -> None:
    found = SECTION.search(README.read_text())
    assert found is not None, "README.md has no <!-- settings --> section"
    assert found.group() == settings_table(*README_SETTINGS), f"write it anew: python -m {__spec__.name}"


def test_every_setting_has_a_description_and_limits_say_their_unit() -> None:
    for settings in README_SETTINGS:
        for name, field in settings.model_fields.items():
            assert field.description, name
            if field.annotation is float:
                assert name.endswith(("_s", "_s_max")), name


def test_the_environment_comes_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DEBT_MARKET_PORT=9001\nDEBT_MARKET_HOST=0.0.0.0\n")
    monkeypatch.setenv("DEBT_MARKET_PORT", "9002")
    settings = Settings()
    assert (settings.port, settings.host) == (9002, "0.0.0.0")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "65536"),
        ("time_zone", "Mars/Olympus"),
        ("log_level", "LOUD"),
        ("inbox_max", "0"),
        ("business_date", "2024-02-30"),
        ("redis_url", "http://redis:6379"),
        ("redis_url", "redis+cluster://one:6379,"),
        ("redis_url", "redis+cluster://one:6379/3"),
        ("redis_url", "redis+cluster://one:port"),
    ],
)
def test_what_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"DEBT_MARKET_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_two_databases_are_refused() -> None:
    with pytest.raises(ValidationError, match="exclude each other"):
        Settings(embedded=True, database_url="postgresql://db/market")


def test_the_password_comes_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("p@ss/word\n")
    settings = Settings(database_url="postgresql://market@db:5433/market?x=1", database_password_file=file)
    assert settings.external_dsn() == "postgresql://market:p%40ss%2Fword@db:5433/market?x=1"
    assert Settings().external_dsn() is None


def test_every_secret_may_come_from_a_file() -> None:
    """A password is part of an address: of what may hold one, nothing is shown, and a file will do as well."""
    for settings in README_SETTINGS:
        for name, field in settings.model_fields.items():
            is_secret = name in {"key", "secret"} or name.endswith(("password", "database_url", "redis_url"))
            assert field.repr is not is_secret, name
            assert not is_secret or f"{name}_file" in settings.model_fields, name


def test_a_secret_is_read_from_its_file_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redis").write_text("redis://:hush@redis:6379/0\n")
    monkeypatch.setenv("DEBT_MARKET_REDIS_URL_FILE", str(tmp_path / "redis"))
    settings = Settings()
    assert settings.redis_url == "redis://:hush@redis:6379/0"
    assert "hush" not in repr(settings)
    with pytest.raises(ValidationError, match="--redis-url and --redis-url-file exclude each other"):
        Settings(redis_url="redis://elsewhere")
    monkeypatch.setenv("DEBT_MARKET_REDIS_URL_FILE", str(tmp_path / "absent"))
    with pytest.raises(ValidationError, match=r"--redis-url-file: .*absent can't be read"):
        Settings()


def test_the_first_business_date_is_today_where_the_market_is() -> None:
    assert Settings(business_date=date(2024, 5, 1)).first_business_date == date(2024, 5, 1)
    before = datetime.now(UTC).date()
    assert before <= Settings().first_business_date <= datetime.now(UTC).date()


def test_an_engine_is_of_a_partition_that_there_is() -> None:
    assert Settings(partitions=2, partition=1).partition == 1
    with pytest.raises(ValidationError, match="--partition 2 is none of 2"):
        Settings(partitions=2, partition=2)


if __name__ == "__main__":
    README.write_text(SECTION.sub(lambda _: settings_table(*README_SETTINGS), README.read_text()))
