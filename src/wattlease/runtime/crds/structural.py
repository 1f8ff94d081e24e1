"""A model's JSON schema as a structural schema: every node has one type, and nothing refers elsewhere.

Rule 1: absent and null are one. No node is nullable, so an API server drops a null before it fills in defaults, and a
rule need only ask `has()`. What may be null in a model is simply not required here.
Rule 2: a list whose entries have a name is a map by that name, so that twins are refused and two appliers can share it.
Rule 3: a default that is empty is not written into objects; absent means the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from wattlease.runtime.crds.bounds import LABEL_CHARACTERS, bounded
from wattlease.runtime.crds.rule import Rule

Schema = dict[str, Any]

_KEPT = (
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
)

Rules = Mapping[str, tuple[Rule, ...]]


def structural(model: type[BaseModel], rules: Rules) -> Schema:
    """The structural schema of a model, with the rules of each part in it, by the part's name."""
    root = model.model_json_schema(by_alias=True)
    return _Parts(root.get("$defs", {}), rules).part(model.__name__, root)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of one resource, by name."""

    schemas: Mapping[str, Schema]
    rules: Rules

    def part(self, name: str, schema: Schema) -> Schema:
        """An object with known fields."""
        node: Schema = {"type": "object", "description": _text(schema)}
        if required := schema.get("required"):
            node["required"] = sorted(required)
        node["properties"] = {field: self.field(name, field, s) for field, s in schema["properties"].items()}
        if rules := self.rules.get(name):
            node["x-kubernetes-validations"] = [rule.schema() for rule in rules]
        return node

    def field(self, part: str, name: str, schema: Schema) -> Schema:
        """What stands in a field: the type that is not null, the field's own text, and its default."""
        (option,) = (s for s in schema.get("anyOf", [schema]) if s.get("type") != "null")
        node = bounded(self.node(part, name, option), part, name)
        if text := _text(schema):
            # first, and instead of what the part says of itself
            node = {"type": node["type"], "description": text} | {k: v for k, v in node.items() if k != "description"}
        default = _default(schema.get("default"), node)
        return node if default is None else {**node, "default": default}

    def node(self, part: str, name: str, schema: Schema) -> Schema:
        """A part, a list, a map of texts or a plain value."""
        if "$ref" in schema:
            below = schema["$ref"].rsplit("/", 1)[1]
            return self.part(below, self.schemas[below])
        kept = {key: _whole(schema[key]) for key in _KEPT if key in schema}
        match schema["type"]:
            case "array":
                items = bounded(self.node(part, name, schema["items"]), part, name)
                return {"type": "array", **_merged(items), **kept, "items": items}
            case "object":
                values = {"type": "string", "maxLength": LABEL_CHARACTERS}
                return {"type": "object", "additionalProperties": values}
            case "integer":
                return {"type": "integer", "format": "int64", **kept}
            case kind:
                return {"type": kind, **kept}


def _merged(items: Schema) -> Schema:
    if "name" in items.get("required", ()):
        return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    return {"x-kubernetes-list-type": "atomic"}


def _text(schema: Schema) -> str:
    return " ".join(schema.get("description", "").split())


def _default(value: Any, node: Schema) -> Any:
    """What an API server fills in; None where that is nothing. A part's own defaults are left to its fields."""
    if isinstance(value, dict):
        fields = node.get("properties", {})
        below = {k: _default(v, fields[k]) for k, v in value.items()}
        own = {k: v for k, v in below.items() if v is not None and v != fields[k].get("default")}
        return own if own or any("default" in field for field in fields.values()) else None
    return None if value in ([], "") else _whole(value)


def _whole(value: Any) -> Any:
    """A whole number without its point, in lists as well."""
    if isinstance(value, list):
        return [_whole(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
