"""The chart's own files, without Helm: values told and bounded, definitions in step, metrics that exist."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/wattlease"
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
TEXT = (CHART / "values.yaml").read_text(encoding="utf-8")
VALUES = yaml.safe_load(TEXT)

MISTAKES: list[tuple[str, dict[str, Any]]] = [
    ("operators", {"operators": {}}),
    ("mode", {"mode": "Shadow"}),  # what is said of a budget is not said twice
    ("operator.replicas", {"operator": {"replicas": "two"}}),
    ("operator.image.tag", {"operator": {"image": {"tag": "latest"}}}),
    ("operator.image.digest", {"operator": {"image": {"digest": "sha256:abc"}}}),
    ("operator.image.pullPolicy", {"operator": {"image": {"pullPolicy": "Sometimes"}}}),
    ("operator.otherProducts", {"operator": {"otherProducts": {"nameplate": 10200}}}),
    ("agent.backend", {"agent": {"backend": "amd"}}),
    ("agent.fallbackWatts", {"agent": {"fallbackWatts": -1}}),
    ("agent.statePath", {"agent": {"statePath": "var/lib/wattlease"}}),
    ("certificates.mode", {"certificates": {"mode": "selfsigned"}}),
    ("certificates.certManager.issuerRef.name", {"certificates": {"mode": "certManager"}}),
    ("certificates.existing.secretName", {"certificates": {"mode": "existing"}}),
    ("service.leases.port", {"service": {"leases": {"port": 0}}}),
    ("networkPolicy.apiServerPorts", {"networkPolicy": {"apiServerPorts": []}}),
    ("monitoring.serviceMonitor.interval", {"monitoring": {"serviceMonitor": {"interval": "often"}}}),
]


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """As Helm puts a file of values over the chart's own."""
    return below | {
        k: merged(below[k], v) if isinstance(v, dict) and isinstance(below.get(k), dict) else v
        for k, v in above.items()
    }


def test_the_charts_definitions_are_those_of_the_repository() -> None:
    """`python -m wattlease.runtime.crds helm/wattlease/files/crds/` makes them so."""
    ours = {path.name: path.read_bytes() for path in (ROOT / "crds").glob("*.yaml")}
    assert {path.name: path.read_bytes() for path in (CHART / "files/crds").glob("*")} == ours


def test_every_value_is_told() -> None:
    """A comment stands above each value, or above a value right before it of the same depth."""
    untold, depth, told = [], 0, False
    for line in TEXT.splitlines():
        here = len(line) - len(line.lstrip())
        if not line.strip() or re.match(r"\s*- ", line):
            told = told and bool(line.strip())
        elif line.lstrip().startswith("#"):
            depth, told = here, True
        elif not line.endswith(":"):
            if not told or here < depth:
                untold.append(line.strip())
            depth = here
        elif here < depth:
            told = False
    assert not untold


def test_the_schema_knows_every_value_and_nothing_else() -> None:
    def walk(values: dict[str, Any], schema: dict[str, Any], at: str) -> Iterator[str]:
        known = schema.get("properties")
        if known is None:
            return  # free, such as resources
        yield from (f"{at}{name} is not in the schema" for name in values.keys() - known.keys())
        for name, below in known.items():
            if name in values and isinstance(values[name], dict):
                yield from walk(values[name], below, f"{at}{name}.")
        if schema.get("additionalProperties") is not False:
            yield f"{at} takes what nobody knows"

    assert not list(walk(VALUES, SCHEMA, ""))


def test_the_schema_takes_the_charts_own_values() -> None:
    jsonschema.Draft7Validator(SCHEMA).validate(VALUES)


@pytest.mark.parametrize(("at", "values"), MISTAKES, ids=[at for at, _ in MISTAKES])
def test_the_schema_refuses_a_mistake(at: str, values: dict[str, Any]) -> None:
    errors = list(jsonschema.Draft7Validator(SCHEMA).iter_errors(merged(VALUES, values)))
    assert errors
    named = {".".join(map(str, error.absolute_path)) for error in errors}
    assert any(at.startswith(name) for name in named), named


def shown() -> set[str]:
    """Names of all metrics that any process shows, as a scrape has them."""
    found = set()
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "operator").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            made = node.func.id if isinstance(node.func, ast.Name) else ""
            if made in ("CounterMetricFamily", "GaugeMetricFamily", "_gauge"):
                found.add(str(node.args[0].value) + ("_total" if made.startswith("Counter") else ""))
    return found


def used(path: Path) -> set[str]:
    return set(re.findall(r"wattlease_[a-z_]+", path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", ["files/rules.yaml", "files/dashboards/wattlease.json"])
def test_only_metrics_that_exist_are_asked_for(file: str) -> None:
    assert used(CHART / file)
    assert used(CHART / file) <= shown()


def test_the_dashboard_has_an_id_and_a_place_for_each_panel_and_none_lies_on_another() -> None:
    board = json.loads((CHART / "files/dashboards/wattlease.json").read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["description"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_chart_and_program_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert (chart["version"], chart["appVersion"]) == (version[1], version[1])
