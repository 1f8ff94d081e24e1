"""What a job says of itself, believed as far as it can be: a job may write anything, or a link, or a pipe."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from wattlease.agent.cards import Trouble
from wattlease.core.lease.words import Count, Word

MAX_BYTES = 4096
"""Many times what the reader writes."""

AHEAD_S = 60.0
"""A time further ahead than this is no time of this node."""

Time = Annotated[float, Field(strict=True, ge=0.0, allow_inf_nan=False)]


class State(Word):
    """The content of `state.json`; times are unix seconds, `speed` in whatever unit of work a second the job counts."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    written_s: Time
    speed: Annotated[float, Field(strict=True, ge=0.0, le=1e15, allow_inf_nan=False)] | None = None
    batch: Annotated[int, Field(strict=True, ge=0, lt=2**53)] | None = None
    checkpoint_s: Time | None = None
    sequence: Count = 0


@dataclass(frozen=True, slots=True)
class Said:
    """A job's word of `age_s` ago; `None` for what it did not tell.

    `speed_frac` is against the highest speed that the job has told, `sequence` the last hint that it has seen.
    """

    age_s: float
    speed: float | None
    speed_frac: float | None
    batch: int | None
    checkpoint_age_s: float | None
    sequence: int


def said_by(path: Path, now_s: float, best: float) -> Said | Trouble | None:
    """The file's content, `None` where there is none; `best` is the highest speed told so far."""
    text = _text(path)
    if text is None or isinstance(text, Trouble):
        return text
    try:
        state = State.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        return Trouble(f"{path}: {where}: {first['msg']}; write it with wattlease_hints.report()")
    except (ValueError, RecursionError):
        return Trouble(f"{path}: no JSON; write it with wattlease_hints.report()")
    return _said(state, now_s, best)


def _said(state: State, now_s: float, best: float) -> Said:
    best = max(best, state.speed or 0.0)
    speed_frac = state.speed / best if state.speed is not None and best > 0.0 else None
    checkpoint = (
        state.checkpoint_s if state.checkpoint_s is not None and state.checkpoint_s <= now_s + AHEAD_S else None
    )
    return Said(
        age_s=max(0.0, now_s - state.written_s),
        speed=state.speed,
        speed_frac=speed_frac,
        batch=state.batch,
        checkpoint_age_s=None if checkpoint is None else max(0.0, now_s - checkpoint),
        sequence=state.sequence,
    )


def _text(path: Path) -> bytes | Trouble | None:
    """At most MAX_BYTES of a plain file in a plain folder; opening a pipe does not wait for who writes it."""
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            opened = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        finally:
            os.close(folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Trouble(f"{path}: {error.strerror}; the job's own file must be plain, and readable for the agent")
    try:
        there = os.fstat(opened)
        plain = stat.S_ISREG(there.st_mode) and there.st_size <= MAX_BYTES
        return os.read(opened, MAX_BYTES) if plain else Trouble(f"{path}: no plain file of at most {MAX_BYTES} bytes")
    finally:
        os.close(opened)
