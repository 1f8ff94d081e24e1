"""Changing the model behind a route, as values: what is seen and what is wanted give the one thing to do next.

Rule 1: weight goes only to a model that is ready and answers; what a model that is not loses goes to one that is.
Rule 2: a model is put to sleep only when it has no weight, and time to end the requests that it has.
Rule 3: whatever fails on the way to a smaller model ends with the job's own, which serves on until that is done.
Nothing of this needs a memory to be right: who forgets the course begins its waits anew, and goes on from what stands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

OWN = 0
"""The job's own model stands first, its smaller ones after it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Waits in seconds, shares as fractions."""

    ready_s: float = 600.0
    drain_s: float = 120.0
    error_frac: float = 0.02
    step_s: float = 10.0
    """Between two moves of weight: long enough to see whether requests fail."""

    settle_s: float = 10.0
    """Gateways follow new weights within seconds; till then a model without weight still gets requests."""

    bad_s: float = 6.0
    """A model with weight that does not answer for this long is given up."""

    steps: tuple[float, ...] = (0.1, 0.5, 1.0)
    grain: int = 100
    """Into how many parts the route can divide its requests."""

    most_fights: int = 3
    """So often weights that somebody else has put back are set again."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model. `up`: it runs and does not sleep, or is told to; `ours`: we woke it or put it to sleep, and that is
    not undone. `good` is None where it was not tried, `busy` where it does not tell of requests under way."""

    weight: int = 0
    up: bool = False
    ours: bool = False
    ready: bool = False
    good: bool | None = None
    busy: int | None = None
    error_frac: float = 0.0

    @property
    def may_gain(self) -> bool:
        """It may be given requests."""
        return self.up and self.ready and self.good is True

    @property
    def holds(self) -> bool:
        """It may keep the requests that it is given: nothing says that it fails them."""
        return self.up and self.ready and self.good is not False


@dataclass(frozen=True, slots=True)
class Course:
    """What is remembered from one look to the next. Times are of a steady clock; `share_frac` is the target's part of
    the weight as it was last seen or set, NaN where we have taken from it ourselves, or could not write."""

    target: int = OWN
    since_s: float = -math.inf
    moved_s: float = -math.inf
    full_s: float = math.nan
    bad_s: float = math.nan
    share_frac: float = math.nan
    fights: int = 0
    failed: str = ""
    """Why a smaller model was given up; until nobody wants one any more."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Have this model run."""

    model: int


@dataclass(frozen=True, slots=True)
class Move:
    """Give the models these parts of the weight, which sum to 1."""

    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sleep:
    """Have this model run no more, or put it back as it was before we woke it."""

    model: int


Deed: TypeAlias = Wake | Move | Sleep
Models: TypeAlias = tuple[Model, ...]


def step(models: Models, course: Course, wanted: int, now_s: float, rules: Rules) -> tuple[Course, Deed | None]:
    """Where we are, and what to do next; `wanted` is the place of the model that is to serve."""
    course = _failing(models, _followed(models, course, wanted, now_s, rules), now_s, rules)
    first = _rescue(models, course.target) or _wake(models, course.target)
    deed: Deed | None = first or _move(models, course, now_s, rules) or _sleep(models, course, now_s, rules)
    if isinstance(deed, Move):
        takes = deed.shares[course.target] < share_of(models, course.target) - 1e-9
        course = replace(course, moved_s=now_s, share_frac=math.nan if takes else deed.shares[course.target])
    return course, deed


def share_of(models: Models, model: int) -> float:
    """The model's part of the route's weight, 0 where there is none."""
    return models[model].weight / max(sum(m.weight for m in models), 1)


def home(models: Models) -> bool:
    """Whether the own model has all requests."""
    return models[OWN].weight > 0 and all(m.weight == 0 for m in models[1:])


def serving(models: Models) -> int:
    """The smaller model that serves alone, with the own one at rest; else the own one."""
    if models[OWN].up or models[OWN].weight:
        return OWN
    return next((i for i, m in enumerate(models) if m.weight and share_of(models, i) == 1.0), OWN)


def _followed(models: Models, course: Course, wanted: int, now_s: float, rules: Rules) -> Course:
    """The course with what the new look says."""
    failed = course.failed if wanted != OWN else ""
    target = OWN if failed else wanted
    if target != course.target:
        course = Course(target, since_s=now_s)
    share = share_of(models, target)
    full_s = (now_s if math.isnan(course.full_s) else course.full_s) if share == 1.0 else math.nan
    good = models[target].holds or not models[target].weight
    bad_s = math.nan if good else now_s if math.isnan(course.bad_s) else course.bad_s
    fights = course.fights + (share < course.share_frac - 0.5 / rules.grain)  # false where that is NaN
    return replace(course, failed=failed, full_s=full_s, bad_s=bad_s, share_frac=share, fights=fights)


def _failing(models: Models, course: Course, now_s: float, rules: Rules) -> Course:
    """The course, turned back where the smaller model fails."""
    fault = _fault(models, course, now_s, rules) if course.target != OWN else ""
    return Course(OWN, since_s=now_s, failed=fault) if fault else course


def _fault(models: Models, course: Course, now_s: float, rules: Rules) -> str:
    small = models[course.target]
    if course.fights > rules.most_fights:
        return f"somebody else put the route's weights back {course.fights} times"
    if small.weight and small.error_frac > rules.error_frac:
        return f"it failed {small.error_frac:.0%} of its requests"
    if now_s - course.bad_s >= rules.bad_s:
        return "it stopped answering"
    if not small.weight and not small.may_gain and now_s - course.since_s >= rules.ready_s:
        whose = "the own model does not answer our requests" if not small.up else "it did not answer"
        return f"{whose} within {rules.ready_s:.0f} s"
    return ""


def _rescue(models: Models, target: int) -> Move | None:
    """Weight of models that cannot serve goes to one that can; at home the own model's troubles are its owner's."""
    lost = [i for i, m in enumerate(models) if m.weight and not m.holds]
    if not lost or (target == OWN and home(models)):
        return None
    able = [i for i, m in enumerate(models) if m.may_gain]
    if not able:
        return None
    to = target if target in able else max(able, key=lambda i: (models[i].weight, -i))
    shares = [0.0 if i in lost else share_of(models, i) for i in range(len(models))]
    shares[to] += 1.0 - sum(shares)
    return Move(tuple(shares))


def _wake(models: Models, target: int) -> Wake | None:
    """The target, where it does not run; a smaller one only beside an own model that is seen to answer."""
    if models[target].up:
        return None
    begins = models[OWN].may_gain or not home(models)
    return Wake(target) if (begins if target != OWN else models[OWN].ours) else None


def _move(models: Models, course: Course, now_s: float, rules: Rules) -> Move | None:
    """One step further to the target, which others pay for by their parts."""
    share = share_of(models, course.target)
    ready = models[course.target].may_gain and now_s - course.moved_s >= rules.step_s
    if share == 1.0 or not ready or course.fights > rules.most_fights:
        return None
    parts = (math.ceil(s * rules.grain - 1e-9) / rules.grain for s in rules.steps)
    new = next(part for part in parts if part > share)
    left = (1.0 - new) / max(1.0 - share, 1e-9)
    return Move(tuple(new if i == course.target else left * share_of(models, i) for i in range(len(models))))


def _sleep(models: Models, course: Course, now_s: float, rules: Rules) -> Sleep | None:
    """Whoever has no weight and nothing to do, once the target has all; a small one only if we woke it."""
    if not models[course.target].may_gain or math.isnan(course.full_s):
        return None
    waited_s = now_s - course.full_s
    for i, model in enumerate(models):
        idle = waited_s >= rules.drain_s or (model.busy == 0 and waited_s >= rules.settle_s)
        if i != course.target and model.up and idle and (i == OWN or model.ours):
            return Sleep(i)
    return None
