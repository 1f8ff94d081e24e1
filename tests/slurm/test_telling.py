"""What jobs are told in their `AdminComment`, and when it is written anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlease.core import explain
from wattlease.core.actions import Plan
from wattlease.core.api import PowerBudget
from wattlease.core.decide import decide
from wattlease.core.memory import FRESH
from wattlease.core.model import NONE, GpuReadings, JobState, NodeReadings, Snapshot
from wattlease.runtime.site import site_of
from wattlease.runtime.site_words import Group
from wattlease_slurm.agreements import Agreements, Standing
from wattlease_slurm.book import Book
from wattlease_slurm.columns import Columns
from wattlease_slurm.tables import Tables
from wattlease_slurm.telling import NO_NEWS, OURS, SLOWED_FRAC, comments
from wattlease_slurm.words import SlurmJob, State


def queue(waiting: int, told: dict[int, str]) -> dict[str, SlurmJob]:
    """A job that runs on all cards and others that wait."""
    base = SlurmJob("", 0, "train", "ada", "ml", "gpu", "normal", State.PENDING, 0.0, reason="Licenses", gpus=4)
    jobs = [replace(base, id=f"{i}", number=i, admin_comment=told.get(i, "")) for i in range(waiting + 1)]
    jobs[0] = replace(jobs[0], state=State.RUNNING, gpu_indices={"n1": (0, 1, 2, 3)}, priority=9)
    return {job.id: job for job in jobs}


def decided(jobs: dict[str, SlurmJob], limit_w: int) -> tuple[Snapshot, Plan]:
    words = {"name": "a", "cluster": "c", "budget": "hall", "nodes": 1, "nodeNames": ["n1"], "gpusPerNode": 4}
    group = Group.model_validate(words | {"gpuModel": "H100", "nodeNameplateWatts": 4000})
    budget = PowerBudget.model_validate({"metadata": {"name": "hall"}, "spec": {"limitWatts": limit_w}})
    site = site_of("hall", (group,), (budget,), ())
    agreements = Agreements(Tables())
    standing = Standing(agreements, Book(Path("unused")), frozenset(), 1000.0)
    agreements.take(standing.of(job) for job in jobs.values())
    columns, job_of = Columns(site, {}).place(list(jobs.values()), [None] * 4, standing)
    site = replace(site, terms=agreements.terms)
    power_w = np.where(job_of == NONE, 70.0, 600.0)
    snapshot = Snapshot(
        now_s=1000.0,
        site=site,
        gpus=GpuReadings(power_w, np.zeros(4), site.gpus.max_cap_w, job_of),
        nodes=NodeReadings(np.full(1, np.nan), np.full(1, np.inf), site.nodes.nameplate_w),
        jobs=columns,
    )
    return snapshot, decide(snapshot, FRESH)[0]


def word(text: str) -> str:
    return text.removeprefix(OURS).partition(" ")[0].rstrip(":")


@given(
    st.integers(0, 12),
    st.dictionaries(st.integers(0, 12), st.sampled_from(["", OURS + "held: x", OURS + "waits", "by hand"]), max_size=6),
    st.sampled_from([1200, 2000, 4000]),
)
def test_each_job_is_told_what_explain_says_of_it_when_its_first_word_is_news(
    waiting: int, told: dict[int, str], limit_w: int
) -> None:
    jobs = queue(waiting, told)
    snapshot, plan = decided(jobs, limit_w)
    expected = {}
    for j, name in enumerate(snapshot.jobs.id):
        text, said = explain.job(snapshot, plan, j), jobs[name].admin_comment
        fast = snapshot.jobs.state[j] == JobState.RUNNING and plan.speed_frac[j] >= SLOWED_FRAC and not said
        news = word(text) != word(said) and (said or word(text) not in NO_NEWS)
        if news and not fast and said != "by hand":
            expected[name] = OURS + text
    assert dict(comments(snapshot, plan, jobs, {})) == expected


@pytest.mark.parametrize("limit_w", [1200])
def test_a_job_that_waits_for_watts_is_told_so_and_a_persons_comment_stays(limit_w: int) -> None:
    jobs = queue(2, {2: "talked to ada"})
    found = dict(comments(*decided(jobs, limit_w), jobs, {}))
    assert "2" not in found
    assert found["1"].startswith(f"{OURS}held: 1 needs")


def test_what_was_told_a_moment_ago_is_not_told_again_though_the_queue_does_not_show_it_yet() -> None:
    jobs = queue(2, {})
    found = dict(comments(*decided(jobs, 1200), jobs, {}))
    assert found
    assert not dict(comments(*decided(jobs, 1200), jobs, found))
