import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tests.programs import program

ROOT = Path(__file__).parent.parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"


def promtool(*arguments: str) -> str:
    done = subprocess.run([program("promtool"), *arguments], cwd=PROMETHEUS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_configuration_and_rules() -> None:
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")
    assert "SUCCESS" in promtool("check", "rules", "llm-edge.rules.yml")


def test_promtools_unit_tests_pass() -> None:
    assert "SUCCESS" in promtool("test", "rules", "llm-edge.test.yml")


def test_every_alert_has_a_unit_test_that_fires_it_and_one_in_which_it_is_silent() -> None:
    rules = yaml.safe_load((PROMETHEUS / "llm-edge.rules.yml").read_text("utf-8"))
    tests = yaml.safe_load((PROMETHEUS / "llm-edge.test.yml").read_text("utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    cases = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == alerts


def test_every_alert_is_explained_where_its_runbook_says() -> None:
    rules = yaml.safe_load((PROMETHEUS / "llm-edge.rules.yml").read_text("utf-8"))
    for rule in (rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule):
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert {"summary", "description"} <= set(rule["annotations"])
        assert f"`{rule['alert']}`" in (ROOT / rule["annotations"]["runbook"]).read_text("utf-8")


def _maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_dashboards", GRAFANA / "make_dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["overview", "providers", "cache", "cost"])
def test_dashboards_are_what_their_tables_say(name: str) -> None:
    text = (GRAFANA / "dashboards" / f"{name}.json").read_text("utf-8")
    assert text == _maker().rendered(name), "run deploy/grafana/make_dashboards.py"
    dashboard = json.loads(text)
    assert dashboard["uid"] == f"llm-edge-{name}"
    assert len({panel["title"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_provisioning_refers_to_what_exists() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "datasources.yaml").read_text("utf-8"))
    uids = {source["uid"] for source in sources["datasources"]}
    assert uids == {"prometheus", "jaeger"}
    named = re.findall(r"datasourceUid: (\w+)", Path(GRAFANA / "provisioning/datasources/datasources.yaml").read_text())
    assert set(named) <= uids
    boards = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "dashboards.yaml").read_text("utf-8"))
    compose = yaml.safe_load((ROOT / "deploy" / "compose" / "docker-compose.yml").read_text("utf-8"))
    mounts = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    assert boards["providers"][0]["options"]["path"] in mounts
