"""A hint, and what of the agent's file is believed."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

SCHEMA = 1


class Hint(NamedTuple):
    """What a job is asked for now. `fresh` is False where nothing is: no agent, or one that has fallen silent."""

    batch_frac: float = 1.0
    """Of the batch (training) or of the requests served at once, 0 to 1."""
    should_checkpoint: bool = False
    """Write a checkpoint now, then call `report(checkpointed=True)`."""
    should_pause: bool = False
    """Stop computing until this is False again; checkpoint first where `should_checkpoint` says so."""
    variant: str = ""
    """The model to serve, by the name that its PowerProfile gives it; empty for the usual one."""
    speed_frac: float = 1.0
    """How fast the job is expected to run under this hint, of its full speed."""
    why: str = ""
    """A sentence for the log."""
    sequence: int = 0
    """Larger in each hint that asks for something else."""
    age_s: float = math.inf
    """Since the agent wrote it."""
    fresh: bool = False


GO_ON = Hint()


class Written(NamedTuple):
    """A hint's file: the hint, when a checkpoint was asked for, and how long it is true."""

    hint: Hint
    asked: int
    written_s: float
    valid_s: float


def parsed(text: bytes) -> Written | None:
    """A hint file's content, or None where it is no hint of this schema or asks for what cannot be."""
    try:
        data = json.loads(text)
        if data["schema"] != SCHEMA:
            return None
        hint = Hint(
            batch_frac=_within(data["batch_frac"], 0.0, 1.0),
            should_checkpoint=data["checkpoint"] is True,
            should_pause=data["pause"] is True,
            variant=_text(data["variant"]),
            speed_frac=_within(data["speed_frac"], 0.0, 1.0),
            why=_text(data["why"]),
            sequence=int(data["sequence"]),
            fresh=True,
        )
        return Written(hint, int(data["checkpoint_sequence"]), float(data["written_s"]), float(data["valid_s"]))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _within(value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError("out of range")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
