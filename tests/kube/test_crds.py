"""The custom resource definitions: their shape, their files, and one table of manifests that all doors agree on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from wattlease.core.api import PowerBudget, Resource
from wattlease.runtime.crds.__main__ import main
from wattlease.runtime.crds.definition import DEFINITIONS, Definition
from wattlease.runtime.crds.status import State
from wattlease.runtime.view import SiteState

sys.path.insert(0, str(Path(__file__).parent / "manifests"))  # the table is shared with the suite on a real server

from crd_cases import Case, cases
from crd_door import filled, refusals

CRDS = Path(__file__).parents[2] / "crds"
CASES = cases()
SCHEMAS = {d.resource.__name__: d.schema() for d in DEFINITIONS}
RESOURCES: dict[str, type[Resource]] = {d.resource.__name__: d.resource for d in DEFINITIONS}

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
by_definition = pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.plural)


def blamed(manifest: dict[str, Any]) -> list[str]:
    """The fields that the model refuses."""
    try:
        RESOURCES[manifest["kind"]].model_validate_json(json.dumps(manifest), strict=True)
    except ValidationError as error:
        return [_path((*e["loc"], *e.get("ctx", {}).get("at", ()))) for e in error.errors()]
    return []


def _path(loc: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


@by_case
def test_the_models_give_the_verdict_of_the_table(case: Case) -> None:
    fields = blamed(case.manifest)
    assert bool(fields) == (case.refused is not None), fields
    assert case.refused is None or fields[0].startswith(case.refused), fields


@by_case
def test_the_schemas_and_their_rules_give_the_verdict_of_the_table(case: Case) -> None:
    found = refusals(SCHEMAS[case.manifest["kind"]], case.manifest)
    assert bool(found) == (case.refused is not None), found
    assert all(field.startswith(case.refused or "") for field, _ in found), found


def test_every_rule_refuses_something_in_the_table() -> None:
    said = {
        text for case in CASES if case.refused for _, text in refusals(SCHEMAS[case.manifest["kind"]], case.manifest)
    }
    for _, node in nodes():
        for rule in node.get("x-kubernetes-validations", []):
            form = rule.get("messageExpression", "").split('"')[1:2] or [rule["message"]]
            parts = [part for part in form[0].replace("\\", "").split("%s") if part.strip()]
            assert any(all(part in text for part in parts) for text in said), rule


def test_a_refusal_says_the_values_and_what_to_write() -> None:
    spec = {"limitWatts": 480000, "guaranteedWatts": 500000}
    manifest = {"kind": "PowerBudget", "metadata": {"name": "hall"}, "spec": spec}
    assert refusals(SCHEMAS["PowerBudget"], manifest) == [
        ("spec.guaranteedWatts", "500000 is above limitWatts of 480000 W; write at most 480000")
    ]


def test_what_a_server_fills_in_is_what_the_models_assume() -> None:
    for case in CASES:
        if case.refused is None:
            model = RESOURCES[case.manifest["kind"]]
            stored = filled(SCHEMAS[case.manifest["kind"]], case.manifest)
            assert model.model_validate(stored) == model.model_validate(case.manifest), case.about
    least = filled(SCHEMAS["PowerBudget"], {"metadata": {"name": "hall"}, "spec": {"limitWatts": 1000}})
    assert least["spec"]["ramp"] == {"releasePercentPerMinute": 5}
    assert PowerBudget.model_validate(least).spec.mode == "Enforce"


def nodes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of every schema, with its path."""
    for kind, schema in SCHEMAS.items():
        yield from _nodes(kind, schema)


def _nodes(path: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, below in node.get("properties", {}).items():
        yield from _nodes(f"{path}.{name}", below)
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from _nodes(f"{path}[]", node[key])


def test_every_node_is_structural() -> None:
    types = {"object", "array", "string", "integer", "number", "boolean"}
    for path, node in nodes():
        assert node["type"] in types, path
        assert not node.keys() & {"$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "title", "nullable", "const"}, path
        assert not {"properties", "additionalProperties"} <= node.keys(), path
        assert ("items" in node) == (node["type"] == "array"), path


def test_whatever_has_a_length_has_a_greatest_length() -> None:
    for path, node in nodes():
        if path.split(".", 1)[-1] in ("apiVersion", "kind"):
            continue  # an API server bounds these itself
        bound = {"array": "maxItems", "string": "maxLength"}.get(node["type"])
        bound = "maxProperties" if "additionalProperties" in node else bound
        assert bound is None or bound in node or "enum" in node, path


def test_every_field_of_a_spec_says_what_it_means() -> None:
    for path, node in nodes():
        if ".spec" in path and not path.endswith("[]"):
            assert node.get("description"), path


def test_every_state_of_a_site_can_be_told() -> None:
    assert set(get_args(State)) == {state.capitalize() for state in get_args(SiteState)}


def test_the_budget_tells_the_story_in_one_line() -> None:
    always = [c.name for c in DEFINITIONS[0].columns if c.always]
    assert always == ["Limit", "Draw", "Headroom", "State", "Binding", "Mode", "Age"]


@by_definition
def test_a_column_shows_a_field_of_its_type(definition: Definition) -> None:
    for column in definition.columns:
        if column.path.startswith(".metadata") or "[" in column.path:
            continue
        node = definition.schema()
        for field in column.path.strip(".").split("."):
            node = node["properties"][field]
        assert node["type"] == column.type, column.name


def test_short_names_and_scopes() -> None:
    assert [(d.plural, d.short, d.scope) for d in DEFINITIONS] == [
        ("powerbudgets", "pb", "Cluster"),
        ("powerprofiles", "pp", "Namespaced"),
        ("powershares", "ps", "Cluster"),
    ]


@by_definition
def test_the_file_is_in_step_with_the_models(definition: Definition) -> None:
    assert (CRDS / f"{definition.plural}.yaml").read_text(encoding="utf-8") == definition.text()


def test_check_passes_over_what_was_written_and_shows_what_was_changed_by_hand(tmp_path: Path) -> None:
    folder = tmp_path / "crds"
    missing = CliRunner().invoke(main, ["--check", str(folder)])
    assert missing.exit_code == 1
    assert not folder.exists(), "a check writes nothing"

    assert CliRunner().invoke(main, [str(folder)]).exit_code == 0
    assert CliRunner().invoke(main, ["--check", str(folder)]).output == ""

    edited = folder / "powershares.yaml"
    edited.write_text(edited.read_text(encoding="utf-8").replace("- ps\n", "- share\n"), encoding="utf-8")
    told = CliRunner().invoke(main, ["--check", str(folder)])
    assert told.exit_code == 1
    assert "-    - share\n+    - ps\n" in told.output
    assert f"run python -m wattlease.runtime.crds {folder}" in told.output
