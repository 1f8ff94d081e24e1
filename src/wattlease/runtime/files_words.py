"""What pydantic found wrong, in an operator's words: the value, what it is not, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from wattlease.runtime.files_yaml import Document

Loc = tuple[str | int, ...]
Schema = dict[str, Any]

_EXAMPLES = {"Watts": 480_000, "Hours": 2_000_000, "Seconds": 900, "Percent": 5, "Celsius": 35}
_UNITS = {"Watts": "watts", "Hours": "watt-hours", "Seconds": "seconds", "Percent": "percent", "Celsius": "°C"}
_PATTERNS = {
    "[a-z0-9]": ("a name of lower case letters, digits and dashes", "rack-r2"),
    "24:00": ("a time of day in hours and minutes", '"22:00"'),
    "wattlease": ("the version of this API", "wattlease.io/v1alpha1"),
}
_PLAIN = {"boolean": "true", "array": "and its entries below", "object": "and its fields below"}

MAX_FOUND = 200
"""Findings of pydantic that are put into words; nobody reads more."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake in a file: its line, its field and the sentence that follows the field's name."""

    line: int
    loc: Loc
    text: str

    @property
    def field(self) -> str:
        """The field as people write it, `spec.schedule[2].end: `, or nothing for the whole document."""
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.loc)
        return f"{path.lstrip('.')}: " if path else ""


def mistakes_of(error: ValidationError, document: Document, model: type[BaseModel]) -> list[Mistake]:
    """Every finding of pydantic, placed at its line and put into words."""
    root = model.model_json_schema(by_alias=True)
    found = []
    for e in error.errors(include_url=False)[:MAX_FOUND]:
        loc = _written(tuple(e["loc"]), document.value)
        at = e.get("ctx", {}).get("at", ())
        schemas = _schemas_at(root, loc)
        found.append(Mistake(document.line_of((*loc, *at)), (*loc, *at), _sentence(dict(e), loc, schemas, root)))
    return found


def _written(loc: Loc, value: Any) -> Loc:
    """The location as it is in the file: pydantic also names the branch of a union, which nobody wrote."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        last = i == len(loc) - 1
        if isinstance(value, dict) and (part in value or last):
            path.append(part)
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            path.append(part)
            value = value[part]
    return tuple(path)


def _sentence(error: dict[str, Any], loc: Loc, schemas: list[Schema], root: Schema) -> str:
    kind, value = error["type"], error.get("input")
    name = str(loc[-1]) if loc else ""
    if kind == "mistake":
        return str(error["ctx"]["text"])
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return _unknown(name, _fields(_schemas_at(root, loc[:-1])))
    if kind == "missing":
        return f"is missing; add {name}: {_example(name, schemas)}"
    what, fix = _wanted(name, schemas)
    if not what:
        return f"{_shown(value)}: {error['msg']}"
    if value is None:
        return f"is empty; {fix}"
    near = get_close_matches(str(value), _choices(schemas), n=1, cutoff=0.6)
    return f"{_shown(value)} is not {what}; " + (f"did you mean {near[0]}?" if near else fix)


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"write one of {', '.join(known)}"
    return f"there is no field {name!r}; {hint}"


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a group of fields" if isinstance(value, dict) else "a list"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _wanted(name: str, schemas: list[Schema]) -> tuple[str, str]:
    """What the field wants, as a noun, and how to write it; empty where the schema does not say."""
    schema = schemas[0] if schemas else {}
    if choices := _choices(schemas):
        return f"one of {', '.join(choices)}", "write one of them"
    example = _example(name, schemas)
    match schema.get("type"):
        case "integer" | "number":
            return _number(name, schema), f"write a {_whole(schema)}number such as {example}"
        case "boolean":
            return "true or false", "write true or false"
        case "array":
            return _list(schema)
        case "object":
            return "a group of fields", "write `field: value` lines, indented below"
        case "string":
            return _string(schema), f"write {_quoted(schema)}such as {example}"
    return "", ""


def _number(name: str, schema: Schema) -> str:
    unit = next((f" of {word}" for suffix, word in _UNITS.items() if name.endswith(suffix)), "")
    low, high = schema.get("minimum"), schema.get("maximum")
    whole = _whole(schema)
    if low == 1 and high is not None and high >= 1_000_000:
        return f"a positive number{unit}"
    if low is not None and high is not None:
        return f"a {whole}number{unit} from {low} to {high}"
    return f"a {whole}number{unit}" + (f", at least {low}" if low is not None else "")


def _whole(schema: Schema) -> str:
    return "whole " if schema.get("type") == "integer" else ""


def _list(schema: Schema) -> tuple[str, str]:
    if schema.get("minItems"):
        return f"a list of at least {schema['minItems']}", "begin each entry's line with a dash"
    return "a list", "begin each entry's line with a dash"


def _string(schema: Schema) -> str:
    if schema.get("format") == "date-time":
        return "a time with a zone"
    for mark, (what, _) in _PATTERNS.items():
        if mark in schema.get("pattern", ""):
            return what
    return "text" + (f" of at most {schema['maxLength']} letters" if "maxLength" in schema else "")


def _quoted(schema: Schema) -> str:
    return "" if schema.get("format") or schema.get("pattern") else "it in quotes, "


def _example(name: str, schemas: list[Schema]) -> str:
    """A value that the field would take, as one would write it."""
    schema = schemas[0] if schemas else {}
    if choices := _choices(schemas):
        return choices[0]
    if schema.get("type") in ("integer", "number"):
        number = next((n for suffix, n in _EXAMPLES.items() if name.endswith(suffix)), 1)
        return str(min(max(number, schema.get("minimum", number)), schema.get("maximum", number)))
    if schema.get("format") == "date-time":
        return "2026-07-01T16:00:00+02:00"
    patterned = [example for mark, (_, example) in _PATTERNS.items() if mark in schema.get("pattern", "")]
    return patterned[0] if patterned else _PLAIN.get(schema.get("type", ""), '"..."')


def _choices(schemas: Iterable[Schema]) -> list[str]:
    return [str(c) for s in schemas for c in s.get("enum", [s["const"]] if "const" in s else [])]


def _fields(schemas: Iterable[Schema]) -> list[str]:
    return [name for s in schemas for name in s.get("properties", {})]


def _schemas_at(root: Schema, loc: Loc) -> list[Schema]:
    """Every branch of the schema that a field may follow, references resolved, `null` left out."""
    schemas = list(_branches(root, root))
    for part in loc:
        schemas = [branch for s in schemas for below in _below(s, part) for branch in _branches(below, root)]
    return schemas


def _below(schema: Schema, part: str | int) -> Iterator[Schema]:
    if isinstance(part, int):
        yield from (s for s in (schema.get("items"),) if isinstance(s, dict))
    elif part in schema.get("properties", {}):
        yield schema["properties"][part]
    elif isinstance(schema.get("additionalProperties"), dict):
        yield schema["additionalProperties"]


def _branches(schema: Schema, root: Schema) -> Iterator[Schema]:
    if reference := re.fullmatch(r"#/\$defs/(.+)", schema.get("$ref", "")):
        yield from _branches(root["$defs"][reference[1]], root)
    elif options := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        for option in options:
            yield from _branches(option, root)
    elif schema.get("type") != "null":
        yield schema
