"""Writes the tables of the budget reference from the models: `python -m wattlease.runtime.reference [--check]`.

What stands between the two marks of the page is the models' own; all else on it is written by hand and kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from wattlease.core.api import PowerBudget, PowerProfile, PowerShare, Resource

PAGE = Path("docs/budget.md")
BEGIN = "<!-- tables of the models: begin -->"
END = "<!-- tables of the models: end -->"

RESOURCES: tuple[type[Resource], ...] = (PowerBudget, PowerProfile, PowerShare)

Schema = dict[str, Any]


def tables() -> str:
    """The tables of all resources, in Markdown: one for each spec and one for each part below it."""
    return "\n\n".join(table for resource in RESOURCES for table in _resource(resource))


def page(text: str) -> str:
    """A page with the tables between its marks brought up to date; raises ValueError if the marks are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}, in this order")
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def _resource(resource: type[Resource]) -> Iterator[str]:
    root = resource.model_json_schema(by_alias=True)
    yield f"## {resource.__name__}\n\n{root['description']}"
    todo = [("spec", root["properties"]["spec"]["$ref"])]
    while todo:
        path, reference = todo.pop(0)
        part = root["$defs"][reference.rsplit("/", 1)[1]]
        yield f"### {path}\n\n{part['description'].split(chr(10) * 2)[0]}\n\n{_table(part)}"
        todo += [(f"{path}.{name}{mark}", below) for name, mark, below in _parts(part)]


def _parts(part: Schema) -> Iterator[tuple[str, str, str]]:
    """Fields that are parts themselves: name, `[]` for a list, and the reference."""
    for name, schema in part["properties"].items():
        for option in schema.get("anyOf", [schema]):
            if "$ref" in option:
                yield name, "", option["$ref"]
            elif "$ref" in option.get("items", {}):
                yield name, "[]", option["items"]["$ref"]


def _table(part: Schema) -> str:
    required = part.get("required", [])
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, schema in part["properties"].items():
        default = "**required**" if name in required else _default(schema.get("default"))
        meaning = " ".join(schema.get("description", "").split()).replace("|", "\\|")
        rows.append(f"| `{name}` | {_type(schema)} | {default} | {meaning} |")
    return "\n".join(rows)


def _default(value: Any) -> str:
    if value is None or value in ([], {}, "") or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        return ", ".join(str(v) for v in value)
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else f"{value}"


def _type(schema: Schema) -> str:
    options = [s for s in schema.get("anyOf", [schema]) if s.get("type") != "null"]
    return " or ".join(_one_type(s) for s in options)


def _one_type(schema: Schema) -> str:
    if "$ref" in schema:
        return "object"
    if "enum" in schema:
        return ", ".join(f"`{v}`" for v in schema["enum"])
    match schema.get("type"):
        case "array":
            item = _one_type(schema["items"])
            return f"list of {item}{'s' if item in ('object', 'string') else ''}"
        case "integer" | "number" as number:
            return " ".join(filter(None, (number, _range(schema))))
        case "object":
            return "map of strings"
        case kind:
            return {"date-time": "time with zone"}.get(schema.get("format", ""), str(kind))


def _range(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"from {low}" if low is not None else ""


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if the page is not in step with the models.")
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=PAGE)
def main(check: bool, path: Path) -> None:
    """Bring the page in step with the models, or tell that it is not."""
    old = path.read_text(encoding="utf-8")
    new = page(old)
    if check and new != old:
        raise click.ClickException(f"{path} is not in step with the models; run python -m wattlease.runtime.reference")
    if not check:
        path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
