"""What deploy/monitoring holds is sound: promtool says so, and the dashboard can be imported."""

import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.operations.conftest import MONITORING

DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "monitor.md"


@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", "alerts.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(prometheus_programs: Path, words: tuple[str, ...]) -> None:
    checked = subprocess.run(
        [prometheus_programs / "promtool", *words],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_promtool_notices_a_rule_that_does_not_fire(
    prometheus_programs: Path, tmp_path: Path
) -> None:
    rules = (MONITORING / "alerts.yml").read_text()
    broken = rules.replace('{reason="disk_full"} == 1', '{reason="disk-full"} == 1')
    assert broken != rules
    (tmp_path / "alerts.yml").write_text(broken)
    (tmp_path / "alerts_test.yml").write_text((MONITORING / "alerts_test.yml").read_text())
    checked = subprocess.run(
        [prometheus_programs / "promtool", "test", "rules", "alerts_test.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 1
    assert "DatabaseDiskFull" in checked.stdout + checked.stderr


def test_every_rule_has_a_test_of_its_own_and_a_place_in_the_guide() -> None:
    rules = re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yml").read_text())
    tested = re.findall(r'ALERTS\{alertname="(\w+)"', (MONITORING / "alerts_test.yml").read_text())
    assert set(tested) == set(rules)
    assert len(rules) == len(set(rules))
    missing = [rule for rule in rules if f"`{rule}`" not in GUIDE.read_text()]
    assert not missing


def test_the_dashboard_asks_whatever_prometheus_it_is_given() -> None:
    [variable] = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["type"]) == ("datasource", "datasource")
    for panel in PANELS:
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"]["uid"] == "${datasource}", panel["title"]


def test_panels_are_named_once_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert len(titles) == len(set(titles))
    places = sorted((p["gridPos"] for p in DASHBOARD["panels"]), key=lambda at: (at["y"], at["x"]))
    for before, after in pairwise(places):
        if before["y"] == after["y"]:
            assert before["x"] + before["w"] <= after["x"]
        else:
            assert before["y"] + before["h"] <= after["y"]
