"""The files of operations/: rules that Prometheus takes, alerts that fire when they should, a runbook for each."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = ROOT / "operations"
DASHBOARDS = sorted((OPERATIONS / "grafana" / "dashboards").glob("*.json"))


def yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def alerts() -> dict[str, Any]:
    return {rule["alert"]: rule for group in yaml(OPERATIONS / "alerts.yml")["groups"] for rule in group["rules"]}


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_promtool_takes_them(arguments: tuple[str, ...]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on this machine (Debian's package prometheus has it)")
    done = subprocess.run(["promtool", *arguments], cwd=OPERATIONS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_is_tested_to_fire_and_to_keep_quiet(alert: str) -> None:
    looks = [
        look
        for test in yaml(OPERATIONS / "alerts_test.yml")["tests"]
        for look in test["alert_rule_test"]
        if look["alertname"] == alert
    ]
    assert {bool(look.get("exp_alerts")) for look in looks} == {True, False}


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_says_what_is_wrong_and_where_to_read_on(alert: str) -> None:
    rule = alerts()[alert]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert {"summary", "description"} <= set(rule["annotations"])
    file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert anchor == alert.lower()
    assert f"\n## {alert}\n" in (ROOT / file).read_text()


def test_the_runbook_has_no_entry_for_an_alert_that_is_gone() -> None:
    entries = re.findall(r"^## (\S+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert set(entries) == set(alerts())
    assert len(entries) == len(set(entries))


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_one_that_grafana_can_show(path: Path) -> None:
    board = json.loads(path.read_text())
    source = yaml(OPERATIONS / "grafana" / "datasources.yml")["datasources"][0]
    panels = board["panels"]
    assert board["uid"]
    assert board["title"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert place["x"] + place["w"] <= 24
        taken |= cells
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == source["uid"]
            assert target["expr"]


def test_the_dashboards_have_names_of_their_own() -> None:
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len(boards) >= 2
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == len(boards)
