"""Jobs as columns: queued, running at the speed their watts allow, paused, downsized, done.

Rule 1: work is seconds at full speed; a job is done when it has done its own.
Rule 2: a pause loses the work since the last checkpoint, unless the job saves on a signal.
Rule 3: a swap of models draws for both until the small one serves; a smaller batch takes hold at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wattlease.core.model import NONE, Bools, Floats, Ints, JobState, Terms
from wattlease.sim.arrivals import Entry, columns_of, indices_of
from wattlease.sim.columns import Columns

ABSENT = -1
DONE = 4
"""States of a job that is not in the snapshot: not submitted yet, and finished."""

KINDS = ("Training", "Inference", "Generation", "Batch", "Interactive", "Idle")
WORDS = ("id", "name", "owner", "cluster")

SAVE_S = 5.0
"""From the order to pause until the cards are idle: the last step and the signal's checkpoint."""

SAVE_LEVEL = 0.4
RESTART_LEVEL = 0.5
"""Demand against usual while a job saves itself, and while it loads after a resume."""

_TIMES = ("submit_s", "since_s", "duration_s", "restart_until_s", "idle_from_s")
_SUMS = ("done_s", "saved_s", "lost_s", "running_s", "paused_s", "breach_s", "energy_j")
_FRACS = ("asked_frac", "draw_frac", "gain_frac", "quality_frac", "batch_frac", "pace_frac")
BLANKS: dict[str, float | int | bool] = {
    **dict.fromkeys((*_TIMES, *_SUMS, "full_w", "next_draw_frac"), 0.0),
    **dict.fromkeys(_FRACS, 1.0),
    **dict.fromkeys(("started_s", "finished_s", "cap_w", "planned_w"), np.nan),
    **dict.fromkeys(("terms", "kind", "gpus", "row", "cluster", "pauses"), 0),
    **dict.fromkeys(("variant", "next_variant"), NONE),
    "swap_until_s": np.inf,
    "state": ABSENT,
    "on_signal": False,
    "reports": False,
}


class Work:
    """Every job of the run, in the order of submission, which is their rank."""

    def __init__(
        self, entries: Sequence[Entry], terms: Sequence[Terms], clusters: Sequence[str], start_s: float
    ) -> None:
        self.terms = tuple(terms)
        self.start_s = start_s
        self.floor_frac = np.array([1.0 - t.max_slowdown_frac for t in terms])
        self.restart_s = np.array([t.restart_s for t in terms])
        self.kind = np.array([KINDS.index(t.kind) for t in terms], dtype=np.int64)
        self.clusters = tuple(clusters)
        self.entries: list[Entry] = []
        self.of = Columns(BLANKS)
        self.append(entries)

    def append(self, entries: Sequence[Entry]) -> None:
        """More jobs, submitted after those that are there."""
        entries = list(entries)
        new = self.of.grow(len(entries))
        for name in ("duration_s", "asked_frac", "full_w", "on_signal", "reports"):
            self.of[name][new] = columns_of(entries, name)
        for name in ("terms", "gpus", "row"):
            self.of[name][new] = indices_of(entries, name)
        self.of["submit_s"][new] = self.start_s + columns_of(entries, "submit_s")
        self.of["kind"][new] = self.kind[self.of["terms"][new]]
        self.of["cluster"][new] = [self.clusters.index(e.cluster) for e in entries]
        self.entries += entries
        self.words = tuple(np.array([getattr(e, n) for e in self.entries], dtype=object) for n in WORDS)

    def plan(self, jobs: Ints, cap_w: Floats, job_w: Floats) -> None:
        """What a plan holds for jobs, in their order: a cap that is NaN leaves things as they are."""
        if len(cap_w) == len(jobs):
            known = np.isfinite(cap_w)
            self.of["cap_w"][jobs[known]] = cap_w[known]
        self.of["planned_w"][jobs] = job_w if len(job_w) == len(jobs) else np.nan

    def start(self, job: int, now_s: float) -> None:
        """The scheduler found its GPUs."""
        self._enter(job, JobState.RUNNING, now_s)
        self.of["started_s"][job] = now_s

    def hold(self, job: int, now_s: float) -> None:
        """Take back a release that was not used; of no effect on a job that runs."""
        if self.of["state"][job] == JobState.RELEASED:
            self._enter(job, JobState.HELD, now_s)

    def release(self, job: int, now_s: float) -> None:
        """Let a waiting job start."""
        if self.of["state"][job] == JobState.HELD:
            self._enter(job, JobState.RELEASED, now_s)

    def pause(self, job: int, now_s: float) -> None:
        """Suspend a running job; work since its last checkpoint is lost unless it saves on the signal."""
        if self.of["state"][job] != JobState.RUNNING:
            return
        if self.of["on_signal"][job]:
            self.of["saved_s"][job] = self.of["done_s"][job]
        self.of["lost_s"][job] += self.of["done_s"][job] - self.of["saved_s"][job]
        self.of["done_s"][job] = self.of["saved_s"][job]
        self.of["idle_from_s"][job] = now_s + SAVE_S
        self.of["pauses"][job] += 1
        self._enter(job, JobState.PAUSED, now_s)

    def resume(self, job: int, now_s: float) -> None:
        """Let a paused job run on, after it has loaded again."""
        if self.of["state"][job] == JobState.PAUSED:
            self.of["restart_until_s"][job] = now_s + self.restart_s[self.of["terms"][job]]
            self._enter(job, JobState.RUNNING, now_s)

    def downsize(self, job: int, now_s: float, batch_frac: float, variant: str) -> None:
        """A smaller batch at once (`variant` empty), or a swap to a smaller model."""
        terms = self.terms[self.of["terms"][job]]
        if variant:
            index = next((i for i, v in enumerate(terms.variants) if v.name == variant), NONE)
            if index != NONE and index != self.of["next_variant"][job]:
                self._swap(job, index, now_s)
            return
        step = min(terms.steps, key=lambda s: abs(s.batch_frac - batch_frac), default=None)
        if step is not None:
            self._set_size(job, step.draw_frac, step.speed_frac, 1.0, step.batch_frac)

    def restore(self, job: int, now_s: float) -> None:
        """Back to the job's own batch and model."""
        if self.of["next_variant"][job] != NONE:
            self._swap(job, NONE, now_s)
        else:
            self._set_size(job, 1.0, 1.0, 1.0, 1.0)

    def level(self, jobs: Ints, now_s: float) -> Floats:
        """Demand of jobs on GPUs against usual, from what they were told: size, swap, restart, pause."""
        of, draw_frac = self.of, self.of["draw_frac"][jobs]
        level = draw_frac + of["next_draw_frac"][jobs]
        level *= np.where(now_s < of["restart_until_s"][jobs], RESTART_LEVEL, 1.0)
        still = np.where(now_s < of["idle_from_s"][jobs], SAVE_LEVEL, 0.0)
        return np.asarray(np.where(self.is_in(jobs, JobState.PAUSED), still * draw_frac, level), dtype=np.float64)

    def progress(self, jobs: Ints, pace_frac: Floats, kept_frac: Floats, now_s: float, dt_s: float) -> Floats:
        """Work on at this pace and return the work done, in seconds at full speed.

        `kept_frac` is what a contract sees. A job that ends within the span ran only as long as it needed.
        """
        of, running = self.of, self.is_in(jobs, JobState.RUNNING)
        gain = of["gain_frac"][jobs]
        speed = pace_frac * gain
        loading_s = np.clip(of["restart_until_s"][jobs] - now_s, 0.0, dt_s)
        left_s = of["duration_s"][jobs] - of["done_s"][jobs]
        needed_s = np.divide(left_s, speed, out=np.full(len(jobs), np.inf), where=speed > 0)
        working_s = np.minimum(dt_s - loading_s, needed_s) * running
        ahead_s = np.where(needed_s <= working_s, left_s, speed * working_s)
        of["done_s"][jobs] += ahead_s
        of["pace_frac"][jobs] = speed
        of["running_s"][jobs] += working_s + loading_s * running
        of["paused_s"][jobs] += ~running * dt_s
        of["finished_s"][jobs] = now_s + loading_s + working_s
        short = kept_frac * gain * of["quality_frac"][jobs] < self.floor_frac[of["terms"][jobs]] - 1e-6
        of["breach_s"][jobs] += short * working_s
        return np.asarray(ahead_s, dtype=np.float64)

    def finish(self, jobs: Ints) -> Ints:
        """Jobs that have done all their work: they are over."""
        over = jobs[self.of["done_s"][jobs] >= self.of["duration_s"][jobs]]
        self.of["state"][over] = DONE
        self.of["since_s"][over] = self.of["finished_s"][over]
        return over

    def save(self, jobs: Ints) -> None:
        """A checkpoint is written."""
        self.of["saved_s"][jobs] = self.of["done_s"][jobs]

    def swapped(self, jobs: Ints, now_s: float) -> None:
        """Where a swap's time has come the other model serves alone."""
        for job in jobs[self.of["swap_until_s"][jobs] <= now_s]:
            index = int(self.of["next_variant"][job])
            self.of["variant"][job] = index
            self.of["swap_until_s"][job] = np.inf
            if index == NONE:
                self._set_size(int(job), 1.0, 1.0, 1.0, 1.0)
            else:
                v = self.terms[self.of["terms"][job]].variants[index]
                self._set_size(int(job), v.draw_frac, v.speed_frac, v.quality_frac, 1.0)

    def is_in(self, jobs: Ints, state: JobState) -> Bools:
        """Which of the jobs are in this state."""
        mask: Bools = self.of["state"][jobs] == int(state)  # numpy is slow to learn that an enum is a number
        return mask

    def _swap(self, job: int, index: int, now_s: float) -> None:
        variants = self.terms[self.of["terms"][job]].variants
        now = int(self.of["variant"][job])
        if index == now:  # called back before it was ready
            self.of["next_draw_frac"][job], self.of["swap_until_s"][job] = 0.0, np.inf
        else:
            self.of["next_draw_frac"][job] = 1.0 if index == NONE else variants[index].draw_frac
            self.of["swap_until_s"][job] = now_s + variants[index if index != NONE else now].swap_s
        self.of["next_variant"][job] = index

    def _set_size(self, job: int, draw: float, speed: float, quality: float, batch: float) -> None:
        self.of["draw_frac"][job], self.of["gain_frac"][job] = draw, speed
        self.of["quality_frac"][job], self.of["batch_frac"][job] = quality, batch
        self.of["next_draw_frac"][job] = 0.0

    def _enter(self, job: int, state: int, now_s: float) -> None:
        self.of["state"][job] = state
        self.of["since_s"][job] = now_s
