"""Errors of Wattlease, by whose fault they are.

    WattleaseError
    ├── BudgetError    the user's: a resource or scenario that cannot be meant; says what, where and how to fix it
    ├── MeterError     the plant's: a device that answers nonsense or not at all
    └── ClusterError   the scheduler's: an API that refuses or is away

Expected trouble (a stale reading, a vanished job) is a value in the snapshot or the plan, never one of these.
"""

from __future__ import annotations


class WattleaseError(Exception):
    """Root of all errors that Wattlease raises on purpose."""


class BudgetError(WattleaseError):
    """What a user wrote cannot be meant; the text names file, line, field and the fix."""


class MeterError(WattleaseError):
    """A device of the plant cannot be read or does not obey."""


class ClusterError(WattleaseError):
    """A scheduler's API refused or could not be reached."""
