"""What counts as work where agents tell which jobs hold their cards."""

from __future__ import annotations

import numpy as np
import pytest

from wattlease.core.model import NONE, Site
from wattlease.runtime.controller.observe import Observer
from wattlease.runtime.controller.settings import ControllerSettings
from wattlease.runtime.controller.work import BareWork
from wattlease.runtime.lease.report import CardReport, Share

BUSY_W, IDLE_W = 390.0, 60.0


@pytest.fixture
def site() -> Site:
    group = {"name": "gpu", "cluster": "hall", "budget": "hall", "nodes": 1, "gpusPerNode": 2, "gpuModel": "A100"}
    written = {
        "name": "hall",
        "groups": [group | {"nodeNameplateWatts": 1200}],
        "budgets": [{"metadata": {"name": "hall"}, "spec": {"limitWatts": 2000}}],
        "listen": {"secretFile": "unused"},
        "stateFolder": "unused",
    }
    return Observer(ControllerSettings.model_validate(written), BareWork(())).site


def card(power_w: float, *jobs: str) -> CardReport:
    shares = tuple(Share(job=job, share_frac=1.0 / len(jobs), estimated=len(jobs) > 1) for job in jobs)
    return CardReport(
        uuid="GPU-0", index=0, model="A100", age_s=0.1, power_w=power_w, energy_j=None, limit_w=400.0, min_w=100.0,
        max_w=400.0, shares=shares,
    )  # fmt: skip


def names(work: BareWork, site: Site, now_s: float, *cards: CardReport) -> list[str]:
    jobs, job = work.jobs(site, list(cards), np.array([card.power_w for card in cards]), now_s)
    return [jobs.id[int(j)] if j != NONE else "" for j in job]


def test_the_part_that_nobody_holds_is_no_job(site: Site) -> None:
    cards = card(IDLE_W, "(idle)"), card(BUSY_W, "(idle)", "7")
    assert names(BareWork(()), site, 0.0, *cards) == ["", "7"]


def test_work_that_nobody_named_is_over_at_once_where_jobs_are_told_and_after_a_lull_where_not(site: Site) -> None:
    now_s = [0.0]
    work = BareWork((), lambda: now_s[0])
    assert names(work, site, 0.0, card(BUSY_W), card(BUSY_W)) == ["work on gpu-0001"] * 2
    now_s[0] = 1.0
    assert names(work, site, 1.0, card(IDLE_W), card(IDLE_W, "(idle)")) == ["work on gpu-0001", ""]
    now_s[0] = 61.0
    assert names(work, site, 61.0, card(IDLE_W), card(IDLE_W, "(idle)")) == ["", ""]


def test_a_wall_clock_that_leaps_makes_no_work_older_or_younger(site: Site) -> None:
    steady = [1000.0]
    work, cards = BareWork((), lambda: steady[0]), [card(BUSY_W, "7"), card(BUSY_W, "7")]
    for unix_s in (1.7e9, 1.7e9 + 86_400, 1.6e9):
        steady[0] += 10.0
        jobs, _ = work.jobs(site, list(cards), np.array([BUSY_W, BUSY_W]), unix_s)
        assert unix_s - jobs.since_s[0] == pytest.approx(steady[0] - 1010.0, abs=1e-3)
