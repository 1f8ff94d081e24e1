"""How budgets hang together: each names its parent, and parents must be able to keep what children promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from wattlease.core.api_budget import PowerBudget
from wattlease.core.errors import BudgetError


@dataclass(frozen=True, slots=True)
class TreeMistake:
    """What is wrong between budgets: `index` into the budgets as given, the field below the resource, the text."""

    index: int
    at: tuple[str, ...]
    text: str


def check_tree(budgets: Sequence[PowerBudget]) -> None:
    """Raise BudgetError, with one line for each mistake, unless the budgets form trees that can keep their promises."""
    lines = [f"PowerBudget {budgets[m.index].name}: {'.'.join(m.at)}: {m.text}" for m in tree_mistakes(budgets)]
    if lines:
        raise BudgetError("\n".join(lines))


def tree_mistakes(budgets: Sequence[PowerBudget]) -> tuple[TreeMistake, ...]:
    """Every mistake between budgets; sums are looked at only where names and parents are right."""
    links = (*_twins(budgets), *_unknown_parents(budgets), *_cycles(budgets))
    return links or tuple(_overpromised(budgets))


def _twins(budgets: Sequence[PowerBudget]) -> Iterator[TreeMistake]:
    first: dict[str, int] = {}
    for i, budget in enumerate(budgets):
        if first.setdefault(budget.name, i) != i:
            text = f"a PowerBudget named '{budget.name}' is there already; give each a name of its own"
            yield TreeMistake(i, ("metadata", "name"), text)


def _unknown_parents(budgets: Sequence[PowerBudget]) -> Iterator[TreeMistake]:
    names = {b.name for b in budgets}
    for i, budget in enumerate(budgets):
        parent = budget.spec.parent
        if parent is not None and parent not in names:
            near = get_close_matches(parent, sorted(names - {budget.name}), n=1)
            hint = f"did you mean '{near[0]}'?" if near else "leave parent out for a root, or add that PowerBudget"
            yield TreeMistake(i, ("spec", "parent"), f"there is no PowerBudget named '{parent}'; {hint}")


def _cycles(budgets: Sequence[PowerBudget]) -> Iterator[TreeMistake]:
    parent = {b.name: b.spec.parent for b in budgets}
    told: set[str] = set()
    for i, budget in enumerate(budgets):
        way = _way_up(budget.name, parent)
        if way[-1] == budget.name and len(way) > 1 and budget.name not in told:
            told.update(way)
            text = f"the parents go in a circle, {' -> '.join(way)}; one of them must be a root, without parent"
            yield TreeMistake(i, ("spec", "parent"), text)


def _way_up(name: str, parent: dict[str, str | None]) -> list[str]:
    """From a budget upwards, until a root or a name that was met before."""
    way = [name]
    while (above := parent.get(way[-1])) is not None:
        way.append(above)
        if above in way[:-1]:
            break
    return way


def _overpromised(budgets: Sequence[PowerBudget]) -> Iterator[TreeMistake]:
    promised = _promised(budgets)
    for i, budget in enumerate(budgets):
        if promised[budget.name] > budget.spec.assured_watts:
            text = (
                f"{budget.spec.assured_watts} W cannot keep the {promised[budget.name]} W that its children are "
                f"guaranteed; raise it, or lower guaranteedWatts of the children"
            )
            yield TreeMistake(i, ("spec", "guaranteedWatts"), text)


def _promised(budgets: Iterable[PowerBudget]) -> Counter[str]:
    """What the children of each budget are guaranteed in writing; an absent guarantee promises nothing."""
    promised: Counter[str] = Counter()
    for budget in budgets:
        if budget.spec.parent is not None and budget.spec.guaranteed_watts is not None:
            promised[budget.spec.parent] += budget.spec.guaranteed_watts
    return promised
