"""The door for YAML: a file becomes frozen models, or is refused with file, line, field and what would be right.

All mistakes of a file are told at once, and nothing of it is used while one is left. Numbers and text are read as
YAML 1.2 does, so `22:00` and `no` stay text, and nothing in a file can build anything but plain values.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from wattlease.core.api import PowerBudget, PowerProfile, PowerShare, tree_mistakes
from wattlease.core.errors import BudgetError
from wattlease.runtime.files_words import Mistake, mistakes_of
from wattlease.runtime.files_yaml import Document, Loc, documents
from wattlease.runtime.zones import zone

MAX_BYTES = 1 << 20
"""A file that is larger is refused unread: nobody writes a megabyte of budget by hand."""

MAX_TOLD = 50
"""Mistakes told of one file at once."""

Model = TypeVar("Model", bound=BaseModel)
AnyResource = PowerBudget | PowerProfile | PowerShare

KINDS: dict[str, type[AnyResource]] = {
    "PowerBudget": PowerBudget,
    "PowerProfile": PowerProfile,
    "PowerShare": PowerShare,
}


@dataclass(frozen=True, slots=True)
class _Read:
    """A document that became a model."""

    document: Document
    resource: AnyResource


def load(path: str | Path, model: type[Model]) -> Model:
    """The one document of a file as the model; raises BudgetError with a line for each mistake."""
    found, mistakes = documents(_text(path), str(path))
    if len(found) > 1:
        mistakes.append(Mistake(found[1].line, (), "a second document begins; keep one, or use a file for each"))
    value, wrong = _validated(found[0], model) if found else (None, [])
    _refuse(path, [*mistakes, *wrong])
    if value is None:
        raise BudgetError(f"{path}:1: the file is empty; {_start_of(model)}")
    return value


def load_all(path: str | Path) -> tuple[AnyResource, ...]:
    """Every PowerBudget, PowerProfile and PowerShare of a file, which must also agree with each other."""
    found, mistakes = documents(_text(path), str(path))
    read: list[_Read] = []
    for document in found:
        resource, wrong = _resource(document)
        mistakes += wrong
        if resource is not None:
            read.append(_Read(document, resource))
    # what stands between resources is looked at only when each is right by itself
    _refuse(path, mistakes or [*_twins(read), *_between_budgets(read)])
    if not read:
        raise BudgetError(f"{path}:1: the file is empty; {_start_of(PowerBudget)}")
    return tuple(r.resource for r in read)


def _text(path: str | Path) -> str:
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BudgetError(f"{path}: cannot be read: {error.strerror}; give the path of a YAML file") from error
    if len(raw) > MAX_BYTES:
        raise BudgetError(f"{path}: is larger than {MAX_BYTES} bytes; split it, a budget takes a few hundred")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise BudgetError(f"{path}:{line}: {what}; save the file as UTF-8") from error


def _resource(document: Document) -> tuple[AnyResource | None, list[Mistake]]:
    kind = document.value.get("kind") if isinstance(document.value, dict) else None
    if kind is None:
        text = f"is missing, so nobody knows what this document is; write one of {', '.join(KINDS)}"
        return None, [Mistake(document.line, ("kind",), text)]
    if not isinstance(kind, str) or kind not in KINDS:
        near = get_close_matches(str(kind), KINDS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"write one of {', '.join(KINDS)}"
        return None, [Mistake(document.line_of(("kind",)), ("kind",), f"there is no kind {kind!r}; {hint}")]
    return _validated(document, KINDS[kind])


def _validated(document: Document, model: type[Model]) -> tuple[Model | None, list[Mistake]]:
    """The document as the model, in strict mode: text is no number and a number no text."""
    zones = _unknown_zones(document)
    try:
        value = model.model_validate_json(json.dumps(document.value), strict=True, by_alias=True, by_name=False)
        return value, zones
    except ValidationError as error:
        return None, zones + mistakes_of(error, document, model)
    except BudgetError as error:  # a model that looks at its budgets' tree itself
        return None, [Mistake(document.line, (), text) for text in str(error).splitlines()]


def _unknown_zones(document: Document) -> list[Mistake]:
    """Time zones that this machine does not know, wherever a document names one; a model cannot look them up."""
    hint = "is no time zone; write a name such as Europe/Berlin"
    named = [(loc, document.at(loc)) for loc in document.lines if loc[-1:] == ("timeZone",)]
    return [_at(document, loc, f"{name!r} {hint}") for loc, name in named if isinstance(name, str) and not zone(name)]


def _twins(read: Sequence[_Read]) -> Iterator[Mistake]:
    """Profiles and shares of one name; budgets are looked at by their tree."""
    seen: set[tuple[str, str | None, str]] = set()
    for r in read:
        meta = r.resource.metadata
        key = (r.resource.kind, meta.namespace, meta.name)
        if key in seen and not isinstance(r.resource, PowerBudget):
            text = f"a {r.resource.kind} named '{meta.name}' is there already; give each a name of its own"
            yield _at(r.document, ("metadata", "name"), text)
        seen.add(key)


def _between_budgets(read: Sequence[_Read]) -> Iterator[Mistake]:
    budgets = [(r.document, r.resource) for r in read if isinstance(r.resource, PowerBudget)]
    for wrong in tree_mistakes([budget for _, budget in budgets]):
        yield _at(budgets[wrong.index][0], wrong.at, wrong.text)


def _at(document: Document, loc: Loc, text: str) -> Mistake:
    return Mistake(document.line_of(loc), loc, text)


def _refuse(path: str | Path, mistakes: Iterable[Mistake]) -> None:
    first: dict[tuple[int, Loc], Mistake] = {}
    for m in mistakes:
        first.setdefault((m.line, m.loc), m)  # what follows from a mistake at the same field is not told
    told = sorted(first.values(), key=lambda m: (m.line, str(m.loc), m.text))
    lines = [f"{path}:{m.line}: {m.field}{m.text}" for m in told[:MAX_TOLD]]
    if len(told) > MAX_TOLD:
        lines.append(f"{path}: and more; these first")
    if lines:
        raise BudgetError("\n".join(lines))


def _start_of(model: type[Any]) -> str:
    return f"begin with kind: {model.__name__}" if model in KINDS.values() else f"write a {model.__name__}"
