"""What happened to each job, heard tick by tick: when it came, what was done to it and why, what that cost."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from wattlease.core import explain
from wattlease.core.actions import Action, Cap, Downsize, Hold, Pause, Plan, Release, Restore, Resume
from wattlease.core.model import NONE, Bools, Floats, JobState, Snapshot
from wattlease.runtime.job_words import Entry

LONGEST_TICK_S = 60.0
"""A longer gap between two ticks is a pause of the recording: it is charged as this much."""

TOLD_FRAC = 0.1
"""A cap that slows its job is news when it moved by more than this since it was last told."""

SLOWED_FRAC = 0.9995
"""A job that keeps less than this of its speed is slowed, as on the page."""


@dataclass(slots=True)
class JobStory:
    """A job through the ticks. `sentence` is what it was told last, `cost` money lost by steering so far.

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


class Teller:
    """Listens to ticks in order. While the jobs stay the same, what it adds up are columns beside them.

    With bounds it can listen for ever: `entries_max` newest for each job, `ended_max` jobs that ended last.
    """

    def __init__(self, entries_max: int | None = None, ended_max: int | None = None) -> None:
        self.stories: dict[str, JobStory] = {}
        self._entries_max, self._ended_max = entries_max, ended_max
        self._ended: deque[str] = deque()
        self._before: tuple[Snapshot, Plan] | None = None
        self._cost = self._told_w = np.empty(0)
        self._slowed: Bools = np.empty(0, bool)

    def hear(self, snapshot: Snapshot, plan: Plan) -> None:
        """Take in the next tick."""
        jobs = snapshot.jobs
        if self._before is None:
            self._welcome(snapshot)
        else:
            before, planned = self._before
            gap_h = min(snapshot.now_s - before.now_s, LONGEST_TICK_S) / 3600
            self._cost += np.nan_to_num(planned.cost_per_h) * gap_h
            if before.jobs.id != jobs.id:
                self.settle(staying=frozenset(jobs.id))
                self._welcome(snapshot)
            elif not np.array_equal(before.jobs.state, jobs.state):
                self._note_states(snapshot)
        self._note_actions(plan)
        self._note_caps(snapshot, plan)
        self._before = snapshot, plan

    def settle(self, staying: frozenset[str] = frozenset()) -> None:
        """Write down how the jobs of the tick before stood, what they had cost, and what the leaving ones were told."""
        if self._before is None:
            return
        snapshot, plan = self._before
        columns = zip(*(c.tolist() for c in (self._cost, plan.cap_w, plan.job_w, plan.speed_frac)), strict=True)
        for j, (job, (cost, cap_w, job_w, speed_frac)) in enumerate(zip(snapshot.jobs.id, columns, strict=True)):
            story = self.stories[job]
            story.cost += cost
            story.cap_w, story.job_w, story.speed_frac, story.seen_s = cap_w, job_w, speed_frac, snapshot.now_s
            if job not in staying and plan.scopes:
                story.sentence = explain.job(snapshot, plan, j)

    def _welcome(self, snapshot: Snapshot) -> None:
        """Other jobs than before: note who came and who left, and begin new columns."""
        self._note_states(snapshot)
        self._note_ends(snapshot)
        told_w = dict(zip(self._before[0].jobs.id, self._told_w, strict=True)) if self._before else {}
        slowed = dict(zip(self._before[0].jobs.id, self._slowed, strict=True)) if self._before else {}
        self._cost = np.zeros(len(snapshot.jobs.id))
        self._told_w = np.array([told_w.get(job, np.nan) for job in snapshot.jobs.id])
        self._slowed = np.array([slowed.get(job, False) for job in snapshot.jobs.id], bool)

    def _note_states(self, snapshot: Snapshot) -> None:
        """Write down who came, and whose state changed."""
        jobs = snapshot.jobs
        for i, job in enumerate(jobs.id):
            state = JobState(jobs.state[i]).name.lower()
            story = self.stories.setdefault(job, JobStory(job, jobs.name[i], jobs.owner[i]))
            if state != story.state or story.ended:
                self._tell(story, Entry(snapshot.now_s, f"is {state}" if story.state else f"first seen {state}", ""))
            story.state, story.ended, story.gpus = state, False, int(jobs.gpus[i])

    def _note_ends(self, snapshot: Snapshot) -> None:
        """Write down who left, and forget whoever left long ago."""
        here = set(snapshot.jobs.id)
        for job in self._before[0].jobs.id if self._before else ():
            if job not in here:
                self.stories[job].ended = True
                self._tell(self.stories[job], Entry(snapshot.now_s, "ended", ""))
                self._ended.append(job)
        while self._ended_max is not None and len(self._ended) > self._ended_max:
            oldest = self._ended.popleft()
            if oldest not in self._ended and (story := self.stories.get(oldest)) and story.ended:
                del self.stories[oldest]

    def _note_actions(self, plan: Plan) -> None:
        for action, sentence in zip(plan.actions, plan.why, strict=True):
            story = self.stories.get(getattr(action, "job", ""))
            if story is not None:
                self._tell(story, Entry(plan.now_s, in_words(action), sentence))

    def _note_caps(self, snapshot: Snapshot, plan: Plan) -> None:
        """Write down caps that slow their job and moved by more than `TOLD_FRAC`, and when one slows it no longer.

        Caps follow demand all the time: one that slows nothing is no news.
        """
        most_w = _most_w(snapshot)
        has_cards = np.isfinite(most_w)
        moved = ~(np.abs(plan.cap_w - self._told_w) <= TOLD_FRAC * self._told_w)
        capped = has_cards & (plan.cap_w < most_w)
        # what a job wants moves from tick to tick: the same cap as before is no news, whether it bites just now or not
        slows = capped & ((plan.speed_frac < SLOWED_FRAC) | (self._slowed & ~moved))
        slows = np.where(has_cards, slows, self._slowed)
        for j in np.flatnonzero(has_cards & ((slows != self._slowed) | (slows & moved))):
            words = in_words(Cap("", float(plan.cap_w[j]))) if slows[j] else "runs at full speed again"
            sentence = explain.job(snapshot, plan, int(j)) if plan.scopes and slows[j] else ""
            self._tell(self.stories[snapshot.jobs.id[j]], Entry(snapshot.now_s, words, sentence))
            self._told_w[j] = plan.cap_w[j]
        self._slowed = slows

    def _tell(self, story: JobStory, entry: Entry) -> None:
        story.entries.append(entry)
        if self._entries_max is not None:
            del story.entries[: -self._entries_max]


def _most_w(snapshot: Snapshot) -> Floats:
    """The highest cap that all cards of each job take; infinite for a job without cards."""
    job = snapshot.gpus.job
    most_w = np.full(len(snapshot.jobs.id), np.inf)
    np.minimum.at(most_w, job[job != NONE], snapshot.site.gpus.max_cap_w[job != NONE])
    return most_w


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
