"""What jobs are told in their `AdminComment`: why they wait, run slower, or are paused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wattlease.core import explain
from wattlease.core.actions import Plan
from wattlease.core.model import JobState, Snapshot
from wattlease_slurm.words import SlurmJob

OURS = "wattlease: "
"""How every comment of ours begins; one that begins otherwise is a person's and stays."""

NO_NEWS = frozenset({"runs", "waits", "released"})
"""What a job is not told unless it was told otherwise before."""

SHADOWED = f"{OURS}nothing is held back (shadow mode)"

SLOWED_FRAC = 0.98
"""A job that keeps more of its speed is not told that it is capped."""


def comments(
    snapshot: Snapshot, plan: Plan, jobs: Mapping[str, SlurmJob], lately: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """The jobs whose comment no longer tells what is so, and what it should say.

    `lately` is what was written within the last minutes, which the queue may not show yet.

    Numbers in a sentence move all the time; a comment is written anew when its first word is another one.
    """
    now = _Words(snapshot, plan)
    for j, name in enumerate(snapshot.jobs.id):
        job = jobs.get(name)
        if job is None or (job.admin_comment and not job.admin_comment.startswith(OURS)):
            continue
        told = _word(lately.get(name, job.admin_comment).removeprefix(OURS))
        runs_well = snapshot.jobs.state[j] == JobState.RUNNING and plan.speed_frac[j] >= SLOWED_FRAC
        if runs_well and not told:
            continue
        word = now.of(j)
        if word != told and (told or word not in NO_NEWS):
            yield name, OURS + explain.job(snapshot, plan, j)


def taken_back(jobs: Mapping[str, SlurmJob], lately: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What jobs that were told something are told in shadow mode."""
    for name, job in jobs.items():
        if job.admin_comment.startswith(OURS) and lately.get(name, job.admin_comment) != SHADOWED:
            yield name, SHADOWED


class _Words:
    """The first words of what jobs are told now. Of thousands that wait, and are not acted on, all are told alike."""

    def __init__(self, snapshot: Snapshot, plan: Plan) -> None:
        self._snapshot, self._plan = snapshot, plan
        self._acted = {getattr(action, "job", "") for action in plan.actions}
        self._alike: dict[int, str] = {}

    def of(self, j: int) -> str:
        """What a job is told, in a word."""
        state = int(self._snapshot.jobs.state[j])
        if state == JobState.RUNNING or self._snapshot.jobs.id[j] in self._acted:
            return _word(explain.job(self._snapshot, self._plan, j))
        if state not in self._alike:
            self._alike[state] = _word(explain.job(self._snapshot, self._plan, j))
        return self._alike[state]


def _word(text: str) -> str:
    return text.partition(" ")[0].rstrip(":")
