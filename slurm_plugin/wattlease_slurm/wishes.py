"""What a user wishes for a job, as `--comment="wattlease:max-slowdown=25,pausable,checkpoint=USR1@120"` says it.

Rule 1: a comment's wishes are read whole or not at all; the first mistake is told with what would be right.
Rule 2: the words are those of `lua/wattlease/wishes.lua`, which looks them over at submit; one table tests both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, get_args

from wattlease.core.api_profile import WorkKind
from wattlease.core.model import Step

SIGNALS = ("USR1", "USR2", "TERM", "INT", "HUP")
STEPS_MAX = 8
SAID = re.compile(r"(?:^|[\s;])wattlease:([^\s;]*)", re.ASCII)
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
PROFILE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """By which signal a job saves itself, and how many seconds that takes it at the most.

    `batch_only`: the batch script alone hears it, as with `sbatch --signal=B:`; otherwise the job's steps do.
    """

    signal: str
    lead_s: float
    batch_only: bool = False


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was said; `None` where nothing was."""

    max_slowdown_frac: float | None = None
    pausable: bool | None = None
    protected: bool | None = None
    requeue: bool | None = None
    """Pause it by requeue, not by suspending it."""
    checkpoint: Checkpoint | None = None
    checkpoint_every_s: float | None = None
    restart_s: float | None = None
    value_per_gpu_h: float | None = None
    weight: float | None = None
    kind: WorkKind | None = None
    steps: tuple[Step, ...] | None = None
    min_nodes: int | None = None
    """It may be shrunk to so many nodes while it runs."""
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A word that cannot be read, and what would be right."""

    word: str
    advice: str

    def __str__(self) -> str:
        return f"'{self.word}' in the comment cannot be read: {self.advice}"


@dataclass(frozen=True, slots=True)
class _Word:
    """A word: the field it fills, what is allowed, how its value is read, and how it is written.

    `read` gets what follows the sign of equality, `None` where there is none, and gives `None` for what cannot be.
    """

    field: str
    allowed: str
    read: Callable[[str | None], Any]
    write: Callable[[Any], str | None]


def read(comment: str) -> Wishes | Mistake:
    """The wishes in a job's comment, which may hold other text too; none of them where nothing is said."""
    said = SAID.findall(comment)
    if len(said) > 1:
        return Mistake("wattlease:", "said twice; say it once, with all wishes behind it")
    found: dict[str, Any] = {}
    for word in said[0].split(",") if said else ():
        wrong = _wrong(word, found)
        if wrong is not None:
            return Mistake(re.sub(r"[\x00-\x1f\x7f]", "?", wrong.word[:40]), wrong.advice)
    return Wishes(**found)


def text(wishes: Wishes) -> str:
    """The comment that says them."""
    return "wattlease:" + ",".join(_said(wishes))


def overlaid(*layers: Wishes) -> Wishes:
    """All that was said; where several say the same the last one holds."""
    said = {f.name: value for layer in layers for f in fields(Wishes) if (value := getattr(layer, f.name)) is not None}
    return Wishes(**said)


def checkpoint(value: str | None) -> Checkpoint | None:
    """`USR1@120` or `B:USR1@120`; `None` where it is neither."""
    found = re.fullmatch(rf"(B:)?({'|'.join(SIGNALS)})@([0-9]+)", value or "")
    lead = _whole(1, 3600)(found[3]) if found else None
    return Checkpoint(found[2], lead, bool(found[1])) if found and lead is not None else None


def _wrong(word: str, found: dict[str, Any]) -> Mistake | None:
    """Put the word's value into `found`, or say why not."""
    called, equals, value = word.partition("=")
    if not word:
        return Mistake("wattlease:", "wishes follow it at once, with commas and no blanks between them")
    known = _WORDS.get(called)
    if known is None:
        return Mistake(word, f"there is no such wish; there are {', '.join(sorted(_WORDS))}")
    if known.field in found:
        return Mistake(word, "said twice, or against another word; say it once")
    found[known.field] = known.read(value if equals else None)
    return Mistake(word, f"write {known.allowed}") if found[known.field] is None else None


def _said(wishes: Wishes) -> Iterator[str]:
    for called, word in _WORDS.items():
        value = getattr(wishes, word.field)
        told = None if value is None else word.write(value)
        if told is not None:
            yield f"{called}={told}" if told else called


def _number(low: float, high: float) -> Callable[[str | None], float | None]:
    def read_number(value: str | None) -> float | None:
        if value is None or len(value) > 12 or not NUMBER.fullmatch(value):
            return None
        return float(value) if low <= float(value) <= high else None

    return read_number


def _whole(low: int, high: int) -> Callable[[str | None], float | None]:
    return lambda value: _number(low, high)(value) if value and "." not in value else None


def _percent(value: str | None) -> float | None:
    percent = _number(0, 100)(value)
    return None if percent is None else percent / 100


def _steps(value: str | None) -> tuple[Step, ...] | None:
    found = [_step(step) for step in (value or "").split("/")]
    steps = tuple(step for step in found if step is not None)
    falls = all(a.batch_frac > b.batch_frac and a.draw_frac > b.draw_frac for a, b in pairwise(steps))
    return steps if len(steps) == len(found) <= STEPS_MAX and falls else None


def _step(value: str) -> Step | None:
    parts = value.split(":")
    if len(parts) != 3:
        return None
    batch, draw, speed = _number(1, 100)(parts[0]), _number(1, 100)(parts[1]), _number(0, 100)(parts[2])
    if batch is None or draw is None or speed is None:
        return None
    return Step(batch / 100, draw / 100, speed / 100)


def _flag(said: bool) -> tuple[Callable[[str | None], bool | None], Callable[[bool], str | None]]:
    return lambda value: said if value is None else None, lambda held: "" if held == said else None


def _one_of(pattern: str) -> Callable[[str | None], str | None]:
    return lambda value: value if value and re.fullmatch(pattern, value) else None


def _plain(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _step_text(step: Step) -> str:
    return ":".join(_plain(frac * 100) for frac in (step.batch_frac, step.draw_frac, step.speed_frac))


_CHECKPOINT = (
    "checkpoint=SIGNAL@SECONDS; SIGNAL is USR1, USR2, TERM, INT or HUP, "
    "with B: before it for the batch script alone; SECONDS 1 to 3600"
)

_WORDS: dict[str, _Word] = {
    "max-slowdown": _Word(
        "max_slowdown_frac", "max-slowdown=PERCENT, 0 to 100", _percent, lambda frac: _plain(frac * 100)
    ),
    "pausable": _Word("pausable", "pausable, without a value", *_flag(True)),
    "not-pausable": _Word("pausable", "not-pausable, without a value", *_flag(False)),
    "protected": _Word("protected", "protected, without a value", *_flag(True)),
    "requeue": _Word("requeue", "requeue, without a value", *_flag(True)),
    "checkpoint": _Word(
        "checkpoint", _CHECKPOINT, checkpoint, lambda c: f"{'B:' * c.batch_only}{c.signal}@{_plain(c.lead_s)}"
    ),
    "checkpoint-every": _Word(
        "checkpoint_every_s", "checkpoint-every=SECONDS, 1 to 31536000", _whole(1, 31_536_000), _plain
    ),
    "restart": _Word("restart_s", "restart=SECONDS, 0 to 31536000", _whole(0, 31_536_000), _plain),
    "value": _Word("value_per_gpu_h", "value=MONEY for an hour of one GPU, 0 to 1000000", _number(0, 1e6), _plain),
    "weight": _Word("weight", "weight=NUMBER, 0 to 1000", _number(0, 1000), _plain),
    "kind": _Word(
        "kind",
        "kind=Training, Inference, Generation, Batch or Interactive",
        _one_of("|".join(get_args(WorkKind))),
        str,
    ),
    "batch": _Word(
        "steps",
        "batch=BATCH:DRAW:SPEED in percent, up to 8 with / between, largest first",
        _steps,
        lambda steps: "/".join(map(_step_text, steps)),
    ),
    "min-nodes": _Word("min_nodes", "min-nodes=NUMBER, 1 to 100000", lambda v: _int(_whole(1, 100_000)(v)), str),
    "profile": _Word(
        "profile", "profile=NAME of a PowerProfile: lower case letters, digits, dashes", _one_of(PROFILE.pattern), str
    ),
}


def _int(value: float | None) -> int | None:
    return None if value is None else int(value)
