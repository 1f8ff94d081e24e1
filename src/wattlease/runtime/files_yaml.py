"""YAML text to plain values that know their lines, by the parser's events alone: no tags, no aliases, no surprises.

A plain scalar is null, true, false, a number in decimal, or text. Numbers that YAML 1.1 and 1.2 read differently
(`0400`, `1_000`, `22:00`) are text, and so refused where a number is due.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from wattlease.core.errors import BudgetError
from wattlease.runtime.files_words import Loc, Mistake

__all__ = ["Document", "Loc", "documents"]

MAX_DEPTH = 32
"""Nesting beyond which a file is refused; the deepest resource needs eight."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's where it is built in: ten times faster

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,29})")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,5})?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True, slots=True)
class Document:
    """A document's plain value, the line where it begins, and the line of every field in it (lines count from 1)."""

    value: Any
    line: int
    lines: dict[Loc, int]

    def at(self, loc: Loc) -> Any:
        """The plain value of a field that `lines` knows."""
        value = self.value
        for part in loc:
            value = value[part]
        return value

    def line_of(self, loc: Loc) -> int:
        """The line of a field, or of the nearest field around it that is there."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc, self.line)


def documents(text: str, name: str) -> tuple[list[Document], list[Mistake]]:
    """The documents of a text, empty ones left out, and what is wrong in them; raises BudgetError if it is no YAML."""
    found: list[Document] = []
    mistakes: list[Mistake] = []
    try:
        events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                builder = _Builder(name, events, mistakes)
                first: Any = next(events)
                value = builder.value(first, (), 1)
                if value is not None:
                    found.append(Document(value, first.start_mark.line + 1, builder.lines))
    except yaml.YAMLError as error:
        raise BudgetError(_no_yaml(name, text, error)) from error
    return found, mistakes


def _no_yaml(name: str, text: str, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        line, what = error.problem_mark.line + 1, error.problem or "is not YAML"
    else:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        what = "a control character is not allowed" if isinstance(error, yaml.reader.ReaderError) else str(error)
    return f"{name}:{line}: {what}; mind the indent, the colons and the quotes around this line"


@dataclass(slots=True)
class _Builder:
    """Builds one document from the parser's events, which it takes as they come."""

    name: str
    events: Iterator[Any]
    mistakes: list[Mistake]
    lines: dict[Loc, int] = field(default_factory=dict)

    def value(self, event: Any, loc: Loc, depth: int) -> Any:
        """The value that begins with an event."""
        line = event.start_mark.line + 1
        self.lines.setdefault(loc, line)
        self._refuse_tricks(event, line, loc, depth)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, loc, line)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(loc, depth)
        return self._mapping(loc, depth)

    def _refuse_tricks(self, event: Any, line: int, loc: Loc, depth: int) -> None:
        """Aliases, tags and deep nesting end the reading at once: they are how a small file becomes a large one."""
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise BudgetError(f"{self.name}:{line}: anchors and aliases are not read here; write the value out")
        if event.tag is not None:
            raise BudgetError(f"{self.name}:{line}: the tag {event.tag} is not read here; leave it out")
        if depth > MAX_DEPTH:
            raise BudgetError(f"{self.name}:{line}: nested more than {MAX_DEPTH} deep; no field lies so deep")

    def _sequence(self, loc: Loc, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.value(event, (*loc, len(items)), depth + 1))
        return items

    def _mapping(self, loc: Loc, depth: int) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse_tricks(event, line, loc, depth)
                raise BudgetError(f"{self.name}:{line}: a list or group cannot be a field's name; write `name: value`")
            self._refuse_tricks(event, line, loc, depth)
            at = (*loc, event.value)
            if event.value in fields:
                text = f"is written twice, first in line {self.lines[at]}; keep one of them"
                self.mistakes.append(Mistake(line, at, text))
            self.lines.setdefault(at, line)
            fields[event.value] = self.value(next(self.events), at, depth + 1)
        return fields

    def _scalar(self, event: yaml.ScalarEvent, loc: Loc, line: int) -> Any:
        text = event.value
        if not event.implicit[0]:  # quoted, or a block
            return text
        if text in _NULLS:
            return None
        if text in _BOOLS:
            return _BOOLS[text]
        if _INT.fullmatch(text):
            return int(text)
        if _NOT_FINITE.fullmatch(text) or (_FLOAT.fullmatch(text) and not math.isfinite(float(text))):
            self.mistakes.append(Mistake(line, loc, f"{text[:40]} is not a number to count with; write a finite one"))
            return None
        return float(text) if _FLOAT.fullmatch(text) else text
