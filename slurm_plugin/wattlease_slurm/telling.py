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

SLOWED_FRAC = 0.98
"""A job that keeps more of its speed is not told that it is capped."""


def comments(snapshot: Snapshot, plan: Plan, jobs: Mapping[str, SlurmJob]) -> Iterator[tuple[str, str]]:
    """The jobs whose comment no longer tells what is so, and what it should say.

    Numbers in a sentence move all the time; a comment is written anew when its first word is another one.
    """
    for j, name in enumerate(snapshot.jobs.id):
        job = jobs.get(name)
        if job is None or (job.admin_comment and not job.admin_comment.startswith(OURS)):
            continue
        told = _word(job.admin_comment.removeprefix(OURS))
        runs_well = snapshot.jobs.state[j] == JobState.RUNNING and plan.speed_frac[j] >= SLOWED_FRAC
        if runs_well and not told:
            continue
        text = explain.job(snapshot, plan, j)
        if _word(text) != told and (told or _word(text) not in NO_NEWS):
            yield name, OURS + text


def _word(text: str) -> str:
    return text.partition(" ")[0].rstrip(":")
