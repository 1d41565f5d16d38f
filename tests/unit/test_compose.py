"""docker-compose.yml and its files hold together: what they name exists, our command takes what they tell it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings, CliApp, get_subcommand
from ruamel.yaml import YAML

from gateway.cli.app import App
from gateway.process.config import ENV_PREFIX
from gateway.rest.routes import ROUTES

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = YAML(typ="safe").load(ROOT / "docker-compose.yml")
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
PUBLIC = {route.path for route in ROUTES if route.method == "GET"} | {"/metrics"}
OF_ENGINES = {"/metrics", "/healthz", "/readyz"}


def settings(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Parse what a service is started with as the command itself does."""
    service = SERVICES[name]
    monkeypatch.chdir(tmp_path)  # where no .env lies
    for variable, value in service["environment"].items():
        assert isinstance(value, str), f"{variable}: numbers and booleans are written as text"
        monkeypatch.setenv(variable, value)
    return get_subcommand(CliApp.run(App, cli_args=service["command"]))


def port_of(given: Any) -> int:
    return int(given.metrics_port if given.metrics_port is not None else given.port)


def host_of(given: Any) -> str:
    return str(given.metrics_host if given.metrics_port is not None else given.host)


def targets(job: str) -> Iterator[tuple[str, int]]:
    config = YAML(typ="safe").load(ROOT / "operations" / "prometheus.yml")
    for scrape in config["scrape_configs"]:
        if scrape["job_name"] == job:
            for target in scrape["static_configs"][0]["targets"]:
                name, _, port = target.partition(":")
                yield name, int(port)


def test_there_are_two_of_what_must_not_fail() -> None:
    assert OURS == ["engine-1", "engine-2", "gateway-1", "gateway-2"]


@pytest.mark.parametrize("name", OURS)
def test_our_command_knows_every_setting(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = settings(name, monkeypatch, tmp_path)
    assert isinstance(given, BaseSettings)
    known = {f"{ENV_PREFIX}{field.upper()}" for field in type(given).model_fields}
    assert set(SERVICES[name]["environment"]) <= known
    assert given.database_url  # type: ignore[attr-defined]
    assert host_of(given) == "0.0.0.0"


@pytest.mark.parametrize("name", OURS)
def test_a_health_check_asks_what_is_there(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = settings(name, monkeypatch, tmp_path)
    found = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", " ".join(SERVICES[name]["healthcheck"]["test"]))
    assert found is not None
    assert int(found[1]) == port_of(given)
    assert found[2] in (PUBLIC if name.startswith("gateway") else OF_ENGINES)


@pytest.mark.parametrize(("job", "prefix"), [("engine", "engine-"), ("gateway", "gateway-")])
def test_prometheus_asks_every_process(job: str, prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wanted = [(name, port_of(settings(name, monkeypatch, tmp_path))) for name in OURS if name.startswith(prefix)]
    assert list(targets(job)) == wanted


def test_nginx_balances_every_gateway_and_is_the_only_one_who_is_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = (ROOT / "operations" / "nginx.conf").read_text()
    named = re.findall(r"server (\S+):(\d+) ", config)
    given = {name: settings(name, monkeypatch, tmp_path) for name in OURS if name.startswith("gateway")}
    assert named == [(name, str(port_of(each))) for name, each in given.items()]
    edge = COMPOSE["networks"]["edge"]["ipam"]["config"][0]["subnet"]
    assert {each.trusted_proxies for each in given.values()} == {edge}
    assert {name for name, service in SERVICES.items() if "edge" in service["networks"]} == {*given, "nginx"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_limited_and_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["cpus"] > 0
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"]), "not as root"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["restart"] == "unless-stopped"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_names_exists(name: str) -> None:
    service = SERVICES[name]
    for other, condition in service.get("depends_on", {}).items():
        assert "healthcheck" in SERVICES[other]
        assert condition == {"condition": "service_healthy"}
    assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists(), f"{source} is missing"
            assert volume.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]
    for variable, value in service.get("environment", {}).items():
        if value.startswith("/run/secrets/"):
            assert variable.endswith("_FILE")
            assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_no_secret_is_written_down_and_none_can_be_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines() + (ROOT / ".dockerignore").read_text().splitlines()
    for secret in COMPOSE["secrets"].values():
        file = secret["file"].removeprefix("./")
        assert ignored.count(file) + ignored.count("*_password.txt") >= 2
    for service in SERVICES.values():
        assert not [name for name in service.get("environment", {}) if re.search("PASSWORD$|SECRET$|KEY$", name)]


def test_the_image_copies_what_is_there() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE) for name in line.split()
    ]
    assert copied
    assert all((ROOT / name).exists() for name in copied)
    removed = re.search(r"pip uninstall --yes (.+)$", dockerfile, re.MULTILINE)
    assert removed is not None
    locked = (ROOT / "requirements.lock").read_text()
    assert all(f"\n{name}==" in locked for name in removed[1].split()), "removes what is not installed"
    user = re.search(r"^USER (\S+)$", dockerfile, re.MULTILINE)
    assert user is not None
    assert {SERVICES[name]["user"] for name in OURS} == {user[1]}
    assert "alias" not in dockerfile, "a shell reads a whole line before it knows the aliases in it"


def test_prometheus_and_grafana_find_their_files_where_they_are_mounted() -> None:
    mounted = {
        target: ROOT / source
        for name in ("prometheus", "grafana")
        for source, target, *_ in (volume.split(":") for volume in SERVICES[name]["volumes"])
    }
    config = mounted[SERVICES["prometheus"]["command"][0].removeprefix("--config.file=")]
    for rules in YAML(typ="safe").load(config)["rule_files"]:
        assert mounted[f"/etc/prometheus/{rules}"].name == rules
    providers = YAML(typ="safe").load(mounted["/etc/grafana/provisioning/dashboards/market.yml"])["providers"]
    for provider in providers:
        assert list(mounted[provider["options"]["path"]].glob("*.json"))
    sources = YAML(typ="safe").load(mounted["/etc/grafana/provisioning/datasources/market.yml"])["datasources"]
    assert [source["url"] for source in sources] == ["http://prometheus:9090"]
    assert set(SERVICES["grafana"]["networks"]) & set(SERVICES["prometheus"]["networks"])
