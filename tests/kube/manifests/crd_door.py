"""An API server's door to one custom resource, in Python: nulls, defaults, schema, lists that are maps, rules in CEL.

It is strict about fields that are not known, as `kubectl apply` is.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import celpy
import jsonschema
from celpy import celtypes

Schema = dict[str, Any]
Refusal = tuple[str, str]
"""The field, as an API server writes it, and the sentence."""

_CHECKER = jsonschema.FormatChecker(["date-time"])
_CEL = celpy.Environment()


def refusals(schema: Schema, given: Any, at: str = "") -> list[Refusal]:
    """Everything that is wrong with a value; what rules say is asked only where the schema alone finds nothing."""
    value = filled(schema, given)
    found = [*_unknown(schema, value, at), *_misshapen(schema, value, at), *_twins(schema, value, at)]
    return found or list(_broken(schema, value, at))


def filled(schema: Schema, given: Any) -> Any:
    """The value as it would be stored: without nulls, with defaults."""
    if isinstance(given, list):
        return [filled(schema.get("items", {}), v) for v in given]
    if not isinstance(given, dict):
        return given
    fields = schema.get("properties", {})
    value = {k: v for k, v in given.items() if v is not None}
    value = {**{k: copy.deepcopy(f["default"]) for k, f in fields.items() if "default" in f}, **value}
    return {k: filled(fields.get(k, {}), v) for k, v in value.items()}


def _below(schema: Schema, value: Any, at: str) -> Iterator[tuple[Schema, Any, str]]:
    """Every node of a value that the schema knows, itself first, with its path."""
    yield schema, value, at
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from _below(schema.get("items", {}), item, f"{at}[{i}]")
    elif isinstance(value, dict):
        for name, field in schema.get("properties", {}).items():
            if name in value:
                yield from _below(field, value[name], f"{at}.{name}".lstrip("."))


def _unknown(schema: Schema, value: Any, at: str) -> Iterator[Refusal]:
    for node, part, path in _below(schema, value, at):
        if isinstance(part, dict) and "properties" in node and path not in ("metadata", "status"):
            yield from ((f"{path}.{k}".lstrip("."), "unknown field") for k in part if k not in node["properties"])


def _misshapen(schema: Schema, value: Any, at: str) -> Iterator[Refusal]:
    for error in jsonschema.Draft202012Validator(schema, format_checker=_CHECKER).iter_errors(value):
        path = at + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
        required = error.validator_value if error.validator == "required" else ()
        missing = [field for field in required if field not in error.instance] or [""]
        yield from ((f"{path}.{field}".strip("."), error.message) for field in missing)


def _twins(schema: Schema, value: Any, at: str) -> Iterator[Refusal]:
    for node, part, path in _below(schema, value, at):
        if node.get("x-kubernetes-list-type") == "map" and isinstance(part, list):
            (key,) = node["x-kubernetes-list-map-keys"]
            names = [item.get(key) for item in part if isinstance(item, dict)]
            yield from ((f"{path}[{i}]", "Duplicate value") for i, name in enumerate(names) if name in names[:i])


def _broken(schema: Schema, value: Any, at: str) -> Iterator[Refusal]:
    for node, part, path in _below(schema, value, at):
        rules = node.get("x-kubernetes-validations", [])
        known = {"self": typed(node, part)} if rules else {}
        for rule in rules:
            if not _program(rule["rule"]).evaluate(known):
                told = rule.get("messageExpression", json.dumps(rule["message"]))
                yield f"{path}{rule.get('fieldPath', '')}".lstrip("."), str(_program(told).evaluate(known))


def typed(schema: Schema, value: Any) -> Any:
    """A plain value with the type that CEL gives it by its schema."""
    match schema.get("type"), schema.get("format"):
        case "object", _:
            fields, others = schema.get("properties", {}), schema.get("additionalProperties", {})
            named = {celtypes.StringType(k): typed(fields.get(k, others), v) for k, v in value.items()}
            return celtypes.MapType(named)
        case "array", _:
            return celtypes.ListType([typed(schema["items"], v) for v in value])
        case "integer", _:
            return celtypes.IntType(value)
        case "number", _:
            return celtypes.DoubleType(value)
        case "boolean", _:
            return celtypes.BoolType(value)
        case _, "date-time":
            return celtypes.TimestampType(value)
        case _:
            return celtypes.StringType(value)


@cache
def _program(source: str) -> celpy.Runner:
    functions = {"isSorted": _is_sorted, "sum": _sum, "min": _min, "format": _format}
    return _CEL.program(_CEL.compile(source), functions=functions)


# Kubernetes' own functions, of which CEL knows nothing


def _is_sorted(values: Iterable[Any]) -> celtypes.BoolType:
    listed = list(values)
    return celtypes.BoolType(listed == sorted(listed))


def _sum(values: Iterable[Any]) -> celtypes.IntType:
    return celtypes.IntType(sum(int(v) for v in values))


def _min(values: Iterable[Any]) -> Any:
    return min(values)


def _format(form: str, values: Iterable[Any]) -> celtypes.StringType:
    return celtypes.StringType(str(form) % tuple(str(v) for v in values))
