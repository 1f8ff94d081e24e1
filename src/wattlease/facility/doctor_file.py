"""Budgets out of any file that has some: resources of their own, or the settings of a process or a scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from wattlease.core.api import Part, PowerBudget
from wattlease.runtime.files import load, load_all
from wattlease.runtime.files_yaml import documents


class _Settings(Part):
    """A file of which only the budgets are looked at."""

    model_config = ConfigDict(extra="ignore")

    budgets: Annotated[tuple[PowerBudget, ...], Field(min_length=1)]
    """The limits, with their meters and batteries."""


def budgets_in(path: Path) -> tuple[PowerBudget, ...]:
    """Raises BudgetError with a line for each mistake."""
    if _holds_resources(path):
        return tuple(found for found in load_all(path) if isinstance(found, PowerBudget))
    return load(path, _Settings).budgets


def _holds_resources(path: Path) -> bool:
    try:
        found, _ = documents(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError):
        return False  # the loader says what is wrong with it
    return any(isinstance(d.value, dict) and "kind" in d.value and "budgets" not in d.value for d in found)
