"""A Slurm that leases its watts from a facility: it follows what it is lent, and falls to what it is guaranteed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from slurm_cluster import Cluster
from slurm_facility import OTHER, SLURM, Facility
from slurm_picture import picture
from slurm_site import JOB_SUBMIT, Site
from slurm_work import Work

GUARANTEED_W, OTHERS_W = 11_000, 3_000
"""Four nodes at their fallback draw up to 10.3 kW; the rest of the campus is a cluster that never came."""

MOST_W, FULL_W, EVENING_W = 28_000, 27_000.0, 20_000.0
LEASE_S, TTL_S = 10.0, 12.0
SETTLED_S = 10.0

QUICK = {
    "guaranteedWatts": GUARANTEED_W,
    "ramp": {"releasePercentPerMinute": 100},
    "dwell": {"pauseSeconds": 5, "downsizeSeconds": 5, "holdSeconds": 1},
    "band": {"marginPercent": 0},
}

pytestmark = pytest.mark.timeout(600)


@dataclass
class Campus:
    """A facility and the Slurm below it, and since when which limit held for that."""

    facility: Facility
    site: Site
    limits: list[tuple[float, float]]

    def lends(self, limit_w: float) -> None:
        """The campus has this limit from now on, and Slurm all of it but what the other cluster is guaranteed."""
        self.facility.limit(limit_w)
        self.limits.append((time.monotonic(), limit_w - OTHERS_W))

    def rises(self, above_w: float) -> float:
        """Wait until Slurm's cards may draw more than this; return how long that took."""
        return self.site.until(lambda: self.site.hardware.allowed_w() > above_w, f"rises above {above_w} W", 120.0)

    def falls(self, below_w: float, patience_s: float) -> float:
        """Wait until Slurm's cards may draw no more than this; return how long that took."""
        falls = f"falls below {below_w} W"
        return self.site.until_dead(lambda: self.site.hardware.allowed_w() <= below_w, falls, patience_s)

    def running(self) -> int:
        """How many jobs Slurm runs."""
        return len(self.site.cluster.run("squeue", "-h", "-o", "%i", "-t", "RUNNING").split())


@pytest.fixture(scope="module")
def whole(installation: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campus]:
    folder: Path = tmp_path_factory.mktemp("share")
    facility = Facility(folder / "facility", FULL_W, {SLURM: GUARANTEED_W, OTHER: OTHERS_W}, MOST_W)
    with Cluster(installation, folder / "slurm", licences="power:28000", job_submit=JOB_SUBMIT) as cluster:  # type: ignore[arg-type]
        works = [Work("*", 600.0, noise_frac=0.05)]
        site = Site(cluster, works, limit_w=MOST_W, budget=QUICK, share=facility.share())
        with facility.running(), site.running():
            yield Campus(facility, site, [(site.hardware.samples[0].at_s, FULL_W - OTHERS_W)])


@pytest.fixture
def campus(whole: Campus) -> Iterator[Campus]:
    """Busy with a job on each of three nodes; what was lent is not passed in the whole test."""
    for name in ("a", "b", "c"):
        submit(whole.site, name)
    whole.site.until(lambda: whole.running() == 3, "three jobs run", 120.0)
    whole.rises(0.75 * FULL_W)
    try:
        yield whole
    finally:
        whole.site.cluster.run("scancel", "--user=alice")
        whole.site.until(lambda: not whole.site.cluster.run("squeue", "-h"), "all jobs are gone")
    for (at_s, limit_w), (until_s, _) in pairwise([*whole.limits, (float("inf"), 0.0)]):
        assert not whole.site.hardware.over(limit_w, at_s + SETTLED_S, until_s)


def submit(site: Site, name: str, *options: str) -> str:
    words = ("--gres=gpu:8", "--time=20", f"--job-name={name}", "--comment=wattlease:pausable", *options)
    return site.cluster.submit("sleep 900", *words, user="alice")


def why(site: Site, job: str) -> str:
    """What its owner reads of it; empty where nothing is said."""
    said = site.cluster.job(job).get("AdminComment", "")
    return said if said.startswith("wattlease: ") else ""


def test_slurm_follows_what_it_is_lent_and_a_job_that_does_not_fit_waits_for_the_share(campus: Campus) -> None:
    campus.lends(EVENING_W)
    took_s = campus.falls(EVENING_W - OTHERS_W, SETTLED_S)
    waits = submit(campus.site, "late", "--comment=wattlease:not-pausable,max-slowdown=5")
    campus.site.until(lambda: why(campus.site, waits), "it is told why it waits", 30.0)
    binding = [row for row in campus.site.view()["limits"] if row["binds"]]
    assert {row["source"] for row in binding} == {"share"}
    time.sleep(5.0)
    assert campus.site.cluster.state(waits) == "PENDING"
    print(f"limits fit {took_s:.1f} s after the facility's file was written; late waits: {why(campus.site, waits)}")
    campus.lends(FULL_W)
    print(f"watts came back after {campus.rises(0.75 * FULL_W):.1f} s")
    campus.site.cluster.reaches(waits, "RUNNING", 60.0)


def test_a_facility_that_is_killed_leaves_slurm_at_what_it_is_guaranteed_and_no_job_is_lost(campus: Campus) -> None:
    ids = set(campus.site.cluster.run("squeue", "-h", "-o", "%i").split())
    campus.facility.process.kill()
    took_s = campus.falls(GUARANTEED_W, LEASE_S + 2.0)
    died_s = time.monotonic()
    time.sleep(5.0)
    assert not campus.site.hardware.over(GUARANTEED_W, died_s)
    assert campus.site.daemon.alive
    campus.facility.process.start()
    print(
        f"fell {took_s:.1f} s after the facility was killed, rose {campus.rises(0.75 * FULL_W):.1f} s after its start"
    )
    assert set(campus.site.cluster.run("squeue", "-h", "-o", "%i").split()) == ids


def test_a_slurm_daemon_that_is_killed_comes_back_under_the_same_share(campus: Campus) -> None:
    campus.site.daemon.kill()
    took_s = campus.falls(GUARANTEED_W, TTL_S)
    campus.site.daemon.start()
    print(f"fell {took_s:.1f} s after the daemon was killed, rose {campus.rises(0.75 * FULL_W):.1f} s after its start")
    shown = picture(campus.site.hardware, campus.limits, "A Slurm under a facility", "slurm-share")
    print(shown)
