"""Dashboard, alerts and runbooks: they ask for what is exported, and each alert was seen to fire."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.admin.families import DECLARED

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "observability"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
ALERTS = [rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text()
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OURS = re.compile(r"\b(entrepot_[a-z_]+)(\{[^}]*\})?")
LABEL = re.compile(r'([a-z_]+)=~?"')
OF_PROMETHEUS = {"job", "instance", "le"}


def queries() -> Iterator[tuple[str, str]]:
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]


def exported() -> dict[str, set[str]]:
    """Labels by series."""
    found: dict[str, set[str]] = {}
    for each in DECLARED:
        parts = ["_bucket", "_sum", "_count"] if each.kind == "histogram" else [""]
        found |= {each.exported + part: {*each.labels, *OF_PROMETHEUS} for part in parts}
    return found


@pytest.mark.parametrize(("name", "query"), list(queries()))
def test_a_query_asks_for_what_is_exported(name: str, query: str) -> None:
    known = exported()
    for series, selector in OURS.findall(query):
        assert series in known, f"{name}: there is no {series}"
        assert {*LABEL.findall(selector)} <= known[series], f"{name}: {series} has no such label"
        if "entrepot_" in query and "sum by" in query:
            grouped = {label.strip() for found in re.findall(r"by \(([^)]*)\)", query) for label in found.split(",")}
            everybody = set().union(*(known[series] for series, _ in OURS.findall(query)))
            assert grouped <= everybody, f"{name}: {grouped - everybody}"


def test_the_dashboard_can_be_laid_out() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells


def test_the_dashboard_shows_what_an_operator_has_to_see() -> None:
    shown = {series for _, query in queries() for series, _ in OURS.findall(query)}
    left = {each.exported for each in DECLARED} - {re.sub(r"_(bucket|sum|count)$", "", series) for series in shown}
    assert left <= {
        *("entrepot_catalog_recovered", "entrepot_pins", "entrepot_job_failures_total"),
        *("entrepot_requests_malformed_total", "entrepot_tls_files_total", "entrepot_upstream_touches_total"),
        *("entrepot_expired_images_total", "entrepot_purged_total", "entrepot_warm_images_total"),
        *("entrepot_lifecycle_images_total", "entrepot_lifecycle_runs_total"),
    }


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_is_and_has_a_runbook(rule: dict[str, Any]) -> None:
    told = rule["annotations"]
    assert told["summary"] and told["description"]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert told["runbook_url"] == f"docs/runbooks.md#{rule['alert'].lower()}"
    section = RUNBOOKS.split(f"\n## {rule['alert']}\n")[1].partition("\n## ")[0]
    assert section.startswith("**Means** ")
    assert "**Do** " in section


def test_every_runbook_is_of_an_alert_and_every_alert_is_tried() -> None:
    names = [rule["alert"] for rule in ALERTS]
    assert re.findall(r"^## (.*)$", RUNBOOKS, re.MULTILINE) == names
    tried = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text())["tests"]
    assert [each["name"] for each in tried] == names
    for each in tried:
        before, after = each["promql_expr_test"]
        assert (before["exp_samples"], len(after["exp_samples"])) == ([], 1)


def promtool(*words: str, folder: Path = FOLDER) -> str:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("needs promtool (apt-get install prometheus)")
    done = subprocess.run([tool, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules_and_every_alert_fires_in_time() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", "alerts.yaml")
    promtool("test", "rules", "alerts_test.yaml")


def test_prometheus_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = []
    for number, (_, query) in enumerate(queries()):
        if "label_values" not in query:
            rules.append({"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")})
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", "queries.yaml", folder=tmp_path)
