"""What a record tells about a job or a node: what happened to it, why, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import numpy as np

from wattlease.core import explain
from wattlease.core.actions import Action, Cap, Downsize, Hold, Pause, Plan, Release, Restore, Resume, ScopePlan
from wattlease.core.errors import WattleaseError
from wattlease.core.model import NONE, JobState, Snapshot
from wattlease.runtime.record import Tick, read

LONGEST_TICK_S = 60.0
"""A longer gap between two ticks is a pause of the recording: it is charged as this much."""

TOLD_FRAC = 0.05
"""A cap is news when it moved by more than this since it was last told."""


class UnknownNameError(WattleaseError):
    """A job or node that the record does not know."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened, at a time in unix seconds; `sentence` is the plan's own reason."""

    now_s: float
    what: str
    sentence: str


@dataclass(slots=True)
class JobStory:
    """A job through the record. `sentence` is what it was told last, `cost` money lost by steering so far.

    `ended` is whether a tick came without it.
    """

    id: str
    name: str
    owner: str
    state: str = ""
    entries: list[Entry] = field(default_factory=list)
    cost: float = 0.0
    gpus: int = 0
    cap_w: float = float("nan")
    job_w: float = float("nan")
    speed_frac: float = float("nan")
    seen_s: float = float("nan")
    ended: bool = False
    sentence: str = ""


@dataclass(slots=True)
class NodeStory:
    """A node through the record: an entry each time its grant or what limits it changed."""

    id: str
    cluster: str
    grant_w: float = float("nan")
    draw_w: float = float("nan")
    limited_by: str = ""
    entries: list[Entry] = field(default_factory=list)
    seen_s: float = float("nan")


Story = JobStory | NodeStory | list[JobStory]


def told(path: Path, name: str | None, until_s: float, watch: Callable[[Tick], None]) -> Story:
    """The story of the job with this id or name, else of the node; of every job where no name is given."""
    stories = job_stories(_until(until_s, read(path), watch))
    if name is None:
        return list(stories.values())
    if name in stories:
        return stories[name]
    named = [s for s in stories.values() if s.name == name]
    if len(named) > 1:
        raise UnknownNameError(f"{len(named)} jobs are called {name}; name one by its id: {_some(s.id for s in named)}")
    found = named[0] if named else node_story(_until(until_s, read(path), watch), name)
    if found is None:
        raise UnknownNameError(f"{path}: no job or node {name}; the jobs are {_some(stories) or 'none'}")
    return found


def _until(until_s: float, ticks: Iterable[Tick], watch: Callable[[Tick], None]) -> Iterator[Tick]:
    for tick in takewhile(lambda tick: tick.snapshot.now_s <= until_s, ticks):
        watch(tick)
        yield tick


def _some(names: Iterable[str]) -> str:
    """The first few names."""
    listed = list(names)
    return ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")


def job_stories(ticks: Iterable[Tick]) -> dict[str, JobStory]:
    """Every job of the record by id, in the order in which they appeared."""
    teller = _Teller()
    for tick in ticks:
        teller.hear(tick)
    teller.settle()
    return teller.stories


class _Teller:
    """Listens to ticks in order. While the jobs stay the same, what it adds up are columns beside them."""

    def __init__(self) -> None:
        self.stories: dict[str, JobStory] = {}
        self._before: Tick | None = None
        self._cost = self._told_w = np.empty(0)

    def hear(self, tick: Tick) -> None:
        before, jobs = self._before, tick.snapshot.jobs
        if before is not None:
            gap_h = min(tick.snapshot.now_s - before.snapshot.now_s, LONGEST_TICK_S) / 3600
            self._cost += np.nan_to_num(before.plan.cost_per_h) * gap_h
        if before is None or before.snapshot.jobs.id != jobs.id:
            self.settle(staying=frozenset(jobs.id))
            self._note_states(tick.snapshot)
            self._cost = np.zeros(len(jobs.id))
            self._told_w = np.array([self.stories[job].cap_w for job in jobs.id])
        elif not np.array_equal(before.snapshot.jobs.state, jobs.state):
            self._note_states(tick.snapshot)
        self._note_actions(tick.plan)
        self._note_caps(tick)
        self._before = tick

    def settle(self, staying: frozenset[str] = frozenset()) -> None:
        """Write down how the jobs of the tick before stood, what they had cost, and what the leaving ones were told."""
        if self._before is None:
            return
        snapshot, plan = self._before.snapshot, self._before.plan
        columns = zip(*(c.tolist() for c in (self._cost, plan.cap_w, plan.job_w, plan.speed_frac)), strict=True)
        for j, (job, (cost, cap_w, job_w, speed_frac)) in enumerate(zip(snapshot.jobs.id, columns, strict=True)):
            story = self.stories[job]
            story.cost += cost
            story.cap_w, story.job_w, story.speed_frac, story.seen_s = cap_w, job_w, speed_frac, snapshot.now_s
            if job not in staying and plan.scopes:
                story.sentence = explain.job(snapshot, plan, j)

    def _note_states(self, snapshot: Snapshot) -> None:
        """Write down who came, who left, and whose state changed."""
        jobs = snapshot.jobs
        for i, job in enumerate(jobs.id):
            state = JobState(jobs.state[i]).name.lower()
            story = self.stories.setdefault(job, JobStory(job, jobs.name[i], jobs.owner[i]))
            if state != story.state or story.ended:
                story.entries.append(Entry(snapshot.now_s, f"is {state}" if story.state else f"first seen {state}", ""))
            story.state, story.ended, story.gpus = state, False, int(jobs.gpus[i])
        for story in self.stories.values():
            if not story.ended and story.id not in jobs.id:
                story.ended = True
                story.entries.append(Entry(snapshot.now_s, "ended", ""))

    def _note_actions(self, plan: Plan) -> None:
        for action, sentence in zip(plan.actions, plan.why, strict=True):
            story = self.stories.get(getattr(action, "job", ""))
            if story is not None:
                story.entries.append(Entry(plan.now_s, in_words(action), sentence))

    def _note_caps(self, tick: Tick) -> None:
        """Write down the caps that moved by more than `TOLD_FRAC` since they were last told; caps follow demand."""
        cap_w = tick.plan.cap_w
        near = np.abs(cap_w - self._told_w) <= TOLD_FRAC * self._told_w
        for j in np.flatnonzero(~near & np.isfinite(cap_w)):
            cards = np.flatnonzero(tick.snapshot.gpus.job == j)
            free = not len(cards) or cap_w[j] >= tick.snapshot.site.gpus.max_cap_w[cards].min()
            if not (free and np.isnan(self._told_w[j])):  # a job begins uncapped: no news
                self._tell_cap(tick, int(j), bool(free))
            self._told_w[j] = cap_w[j]

    def _tell_cap(self, tick: Tick, j: int, free: bool) -> None:
        words = "cap lifted" if free else in_words(Cap("", float(tick.plan.cap_w[j])))
        sentence = explain.job(tick.snapshot, tick.plan, j) if tick.plan.scopes and not free else ""
        self.stories[tick.snapshot.jobs.id[j]].entries.append(Entry(tick.snapshot.now_s, words, sentence))


def in_words(action: Action) -> str:
    """What the action does to its job or storage, in a few words."""
    match action:
        case Cap(cap_w=cap_w):
            return f"capped at {cap_w:.0f} W a GPU"
        case Downsize(variant=variant, batch_frac=batch_frac):
            return f"swapped to {variant}" if variant else f"batch cut to {batch_frac:.0%}"
    return _WORDS.get(type(action), type(action).__name__.lower())


_WORDS: dict[type, str] = {
    Pause: "paused",
    Resume: "resumed",
    Hold: "held",
    Release: "released",
    Restore: "restored to its own batch and model",
}


def node_story(ticks: Iterable[Tick], node: str) -> NodeStory | None:
    """The node's grant through the record; None if no tick knows such a node."""
    story: NodeStory | None = None
    for tick in ticks:
        nodes = tick.snapshot.site.nodes
        if node not in nodes.id:
            continue
        i = nodes.id.index(node)
        story = story or NodeStory(node, nodes.cluster[i])
        limit = _tightest(tick.snapshot, tick.plan, int(nodes.scope[i]))
        grant_w = float(tick.plan.grant_w[i])
        limited_by = f"{limit.scope} ({limit.source})" if limit else "nothing"
        # less than a hundredth is the slack that follows demand, no news
        if limited_by != story.limited_by or not abs(grant_w - story.grant_w) <= 0.01 * story.grant_w:
            why = f"{explain.watts(limit.planned_w)} planned {explain.under(limit)}: {limit.text}" if limit else ""
            story.entries.append(Entry(tick.snapshot.now_s, f"granted {explain.watts(grant_w)}", why))
            story.grant_w, story.limited_by = grant_w, limited_by
        story.draw_w, story.seen_s = float(tick.snapshot.nodes.power_w[i]), tick.snapshot.now_s
    return story


def _tightest(snapshot: Snapshot, plan: Plan, scope: int) -> ScopePlan | None:
    """Of the node's scope and those above it, the one with the least room."""
    plans = {p.scope: p for p in plan.scopes}
    chain: list[ScopePlan] = []
    while scope != NONE:
        part = snapshot.site.scopes[scope]
        if part.id in plans:
            chain.append(plans[part.id])
        scope = part.parent
    return max(chain, key=lambda p: p.planned_w / p.limit_w if p.limit_w else np.inf, default=None)
