"""A rule that an API server checks beside the schema: in CEL, with its field and a sentence that says how to fix it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_HOLE = re.compile(r"\{([^{}]*self\.[^{}]*)\}")
_FIELD = re.compile(r"self(\.\w+)+")


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold in a part: the field that is to be changed if not, the condition in CEL, and the sentence.

    `field` stands below the part, in camelCase; empty for the part itself. The sentence follows the field's name;
    `{self.limitWatts}` in it becomes the value.
    """

    field: str
    holds: str
    text: str

    def schema(self) -> dict[str, Any]:
        """The rule as an entry of `x-kubernetes-validations`."""
        entry: dict[str, Any] = {"rule": self.holds, "message": _HOLE.sub(_name, self.text)}
        if _HOLE.search(self.text):
            entry["messageExpression"] = _expression(self.text)
        if self.field:
            entry["fieldPath"] = f".{self.field}"
        return {**entry, "reason": "FieldValueInvalid"}


def both_or_none(one: str, other: str, text: str) -> tuple[Rule, ...]:
    """Two fields of which neither goes alone; `text` stands behind 'is missing; '."""
    return tuple(
        Rule(missing, f"!has(self.{there}) || has(self.{missing})", f"is missing; {text}: add {missing}")
        for there, missing in ((one, other), (other, one))
    )


def strictly(way: str, items: str, field: str, text: str) -> Rule:
    """A field that only `rises` or only `falls` from entry to entry of a list that may be absent.

    Sorted, and no value twice: an API server before 1.33 knows no index in a loop.
    """
    return Rule(items, f"!has(self.{items}) || ({_sorted(way, items, field)} && {_distinct(items, field)})", text)


def weakly(way: str, items: str, field: str, text: str) -> Rule:
    """The same, where equal neighbours are right too."""
    return Rule(items, f"!has(self.{items}) || {_sorted(way, items, field)}", text)


def _sorted(way: str, items: str, field: str) -> str:
    sign = {"rises": "", "falls": "-"}[way]
    return f"self.{items}.map(x, {sign}x.{field}).isSorted()"


def _distinct(items: str, field: str) -> str:
    return f"self.{items}.all(x, self.{items}.exists_one(y, y.{field} == x.{field}))"


def _name(hole: re.Match[str]) -> str:
    """What stands for a value in the plain message, which is shown where the expression fails."""
    return hole[1].rsplit(".", 1)[-1] if _FIELD.fullmatch(hole[1]) else "that"


def _expression(text: str) -> str:
    """The sentence as CEL; formatted, since of words put together by `+` an API server bounds no cost."""
    form = _HOLE.sub("%s", text.replace("%", "%%"))
    values = ", ".join(f"string({hole[1]})" for hole in _HOLE.finditer(text))
    return f"{json.dumps(form)}.format([{values}])"
