"""Whatever can be written, the models and the schemas with their rules give one verdict."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from wattlease.core.api import PowerBudgetSpec, PowerProfileSpec
from wattlease.runtime.crds.rules import RULES
from wattlease.runtime.crds.structural import structural

sys.path.insert(0, str(Path(__file__).parent / "manifests"))  # the door is shared with the tests of the table

from crd_door import filled, refusals

BY_NAME = {part.__name__: rules for part, rules in RULES.items()}
SCHEMAS = {part: structural(part, BY_NAME) for part in RULES}

EIC = "10Y1001A1001A82H"

TEXTS: dict[str, list[str]] = {
    "start": ["00:00", "06:00", "24:00"],
    "end": ["06:00", "12:00", "24:00"],
    "host": ["127.0.0.1", "::1", "localhost", "10.0.0.7"],
    "url": [
        "https://h.example",
        "http://h.example:80/a/",
        "HTTP://LocalHost/x",
        "http://[::1]:8",
        "https://u:p@h",
        "h",
    ],
    "vtnUrl": [
        "https://v",
        "http://127.0.0.1:8080/a",
        "http://127.0.0.1.example",
        "https://v?x",
        "https://",
        "ftp://v",
    ],
    "zone": [EIC, "DE", "US-CAL-CISO", "de", f"{EIC}0"],
    "currency": ["EUR", "eur", "EURO"],
    "topic": ["a/b", "a/+", "#"],
    "aliveTopic": ["a/b", "a/+", "#"],
    "oid": ["1.3.6.1", ".1.3.6.1", "1"],
    "path": ["/redfish/v1/Sensors/1", "/elsewhere"],
    "vtnFingerprint": ["A1:B2:C3:D4:E5:F6:A7:B8:C9:D0", "a1:b2"],
    "timeZone": ["UTC"],
}
TIMES = ["2026-07-01T16:00:00Z", "2026-07-01T18:00:00+02:00", "2026-07-01T16:00:01.5Z", "2026-07-02T16:00:00-08:00"]


@cache
def written(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with a part's fields, each by itself mostly right, together often not."""
    root = model.model_json_schema(by_alias=True)
    return _part(root, root.get("$defs", {}))


def _part(part: dict[str, Any], parts: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: st.deferred(lambda n=name, s=s: _value(n, s, parts)) for name, s in part["properties"].items()}
    required = {name: fields.pop(name) for name in part.get("required", ())}
    return st.fixed_dictionaries(required, optional=fields)


def _value(name: str, schema: dict[str, Any], parts: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "anyOf" in schema:
        return st.one_of(_value(name, option, parts) for option in schema["anyOf"])
    if "$ref" in schema:
        return _part(parts[schema["$ref"].rsplit("/", 1)[1]], parts)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "array":
            return st.lists(_value(name, schema["items"], parts), min_size=schema.get("minItems", 0), max_size=2)
        case "object":
            return st.dictionaries(st.sampled_from("xyz"), st.sampled_from("ab"), max_size=2)
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    if schema.get("format") == "date-time":
        return st.sampled_from(TIMES)
    return st.sampled_from(TEXTS.get(name, ["a", "b"]))


def _number(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    low, high = max(schema.get("minimum", -3), -3), schema.get("maximum", 1000)
    near = [int(low) + i for i in range(4)] + [v for v in (schema.get("default"), 0, 50, high) if v is not None]
    return st.sampled_from([v for v in near if low <= v <= high])


def blamed(model: type[BaseModel], value: Any) -> tuple[str | int, ...] | None:
    """The first field that a model refuses, None if it takes the value."""
    try:
        model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        return (*first["loc"], *first.get("ctx", {}).get("at", ()))
    return None


def mended(model: type[BaseModel], value: Any) -> Any:
    """The value without what a model refuses in it, as far as leaving something out mends it."""
    while (at := blamed(model, value)) is not None:
        container, key = _last_there(value, at)
        if container is None:
            break
        del container[key]
    return value


def _last_there(value: Any, at: tuple[str | int, ...]) -> tuple[Any, Any]:
    """What is to go: the field itself, or where it is missing what it is missing in."""
    steps = [(None, None)]
    for part in at:
        container = value
        try:
            value = container[part]
        except (KeyError, IndexError, TypeError):
            return steps[-1]
        steps.append((container, part))
    return steps[-1]


@cache
def nearly_right(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Objects as they come, or mended and then with some field that a rule speaks of as it comes."""
    ruled = [rule.field.split(".")[0] for rule in BY_NAME[model.__name__]]
    fields = model.model_json_schema(by_alias=True)["properties"]
    parts = st.tuples(written(model), written(model), st.sampled_from([*ruled, *fields]))
    return written(model) | parts.map(lambda drawn: _with_one_field(mended(model, drawn[0]), *drawn[1:]))


def _with_one_field(value: Any, other: Any, field: str) -> Any:
    return {**value, field: other[field]} if field in other else value


few = st.integers(1, 6)
EVENT = {"start": TIMES[0], "end": TIMES[3]}
BUDGETS = st.fixed_dictionaries(
    {"limitWatts": few},
    optional={
        "guaranteedWatts": few,
        "schedule": st.lists(few, max_size=2).map(
            lambda watts: [
                {"name": f"s{i}", "start": "06:00", "end": "08:00", "limitWatts": w} for i, w in enumerate(watts)
            ]
        ),
        "demandResponse": st.lists(few, max_size=2).map(
            lambda watts: [{"name": f"e{i}", "limitWatts": w, **EVENT} for i, w in enumerate(watts)]
        ),
        "breaker": few.map(lambda watts: {"ratedWatts": watts}),
        "redundancy": st.tuples(st.lists(few, min_size=1, max_size=4), st.integers(0, 3)).map(
            lambda drawn: {
                "feeds": [{"name": f"f{i}", "ratedWatts": w} for i, w in enumerate(drawn[0])],
                "tolerate": min(drawn[1], len(drawn[0]) - 1),
            }
        ),
        "thermalDerate": st.lists(st.tuples(few, st.sampled_from([20, 50, 90])), max_size=3).map(
            lambda steps: [{"aboveCelsius": c, "limitPercent": p} for c, p in steps]
        ),
        "gridEvents": st.fixed_dictionaries({"file": st.just({"path": "/e"})}, optional={"optOutBelowWatts": few}),
        "demandCharge": st.fixed_dictionaries({"targetWatts": few, "pricePerKilowatt": st.integers(0, 1)}),
        "tariff": st.fixed_dictionaries({"demandPricePerKilowatt": st.integers(0, 1)}),
    },
)
"""Budgets whose limits are near each other, so that any of them may be the lowest."""


@settings(max_examples=120, deadline=None)
@given(value=BUDGETS)
def test_the_models_and_the_rules_give_one_verdict_on_a_guarantee(value: dict[str, Any]) -> None:
    found, at = refusals(SCHEMAS[PowerBudgetSpec], value), blamed(PowerBudgetSpec, value)
    assert bool(found) == (at is not None), (found, at)


PARTS = [part for part in RULES if part is not PowerBudgetSpec]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_models_and_the_rules_give_one_verdict(part: type[BaseModel], data: st.DataObject) -> None:
    value = data.draw(nearly_right(part))
    found, at = refusals(SCHEMAS[part], value), blamed(part, value)
    assert bool(found) == (at is not None), (found, at)


@pytest.mark.parametrize("spec", [PowerBudgetSpec, PowerProfileSpec], ids=lambda spec: spec.__name__)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_the_models_take_passes_and_means_the_same_when_stored(
    spec: type[BaseModel], data: st.DataObject
) -> None:
    value = mended(spec, data.draw(written(spec)))
    assume(blamed(spec, value) is None)
    assert refusals(SCHEMAS[spec], value) == []
    assert spec.model_validate(filled(SCHEMAS[spec], value)) == spec.model_validate(value)
