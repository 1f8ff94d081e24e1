"""A site of four nodes under its limit, with sixty jobs of a real cluster's kinds, and a limit that falls by 30 %."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from slurm_cluster import Cluster
from slurm_contracts import broken, needless_s
from slurm_philly import Job, jobs
from slurm_picture import picture
from slurm_site import JOB_SUBMIT, Site
from slurm_work import Work

FULL_W, CUT_FRAC, CUT_S = 24_000.0, 0.7, 300.0
SETTLED_S = 10.0
REACTION_S = 5.0
"""Who is told to pause or to wait goes on drawing for a moment, and a job that began unasked is seen a tick later."""

OVER = ("COMPLETED", "RUNNING", "PENDING", "COMPLETING", "SUSPENDED", "CONFIGURING")

WORKS = (
    Work("eval*", 420.0, low_w=180.0, low_frac=0.2, period_s=40.0, noise_frac=0.05),
    Work("serve*", 380.0, noise_frac=0.08),
    Work("tune*", 560.0, low_w=200.0, low_frac=0.1, period_s=60.0, noise_frac=0.05),
    Work("train*", 650.0, low_w=150.0, low_frac=0.05, period_s=90.0, noise_frac=0.04),
    Work("*", 600.0, noise_frac=0.05),
)


@pytest.fixture
def site(new_cluster: Callable[..., Cluster]) -> Iterator[Site]:
    cluster = new_cluster("philly", licences="power:22400", job_submit=JOB_SUBMIT)
    budget = {"ramp": {"releasePercentPerMinute": 60}, "dwell": {"pauseSeconds": 30, "holdSeconds": 5}}
    with Site(cluster, WORKS, limit_w=FULL_W, budget=budget).running() as found:
        yield found


def submitted(site: Site) -> dict[str, Job]:
    """All sixty, each a loop that counts its seconds of work and so takes no suspension for work done."""
    return {
        site.cluster.submit(
            f"trap : USR1; n=0; while [ $n -lt {job.seconds * 2} ]; do sleep 0.5; n=$((n+1)); done",
            *job.options,
            user=job.user,
        ): job
        for job in jobs()
    }


def states(site: Site) -> dict[str, str]:
    """Every job that was ever submitted, by its state; ended ones by the accounting that the cluster keeps."""
    ended = dict(re.findall(r"JobId=(\d+).*?JobState=(\S+)", site.cluster.log.joinpath("jobcomp.log").read_text()))
    queued = dict(line.split() for line in site.cluster.run("squeue", "-h", "-o", "%i %T").splitlines())
    return ended | queued


@pytest.mark.timeout(1500)
def test_a_limit_that_falls_by_30_percent_is_kept_by_caps_then_pauses_and_no_job_is_lost(site: Site) -> None:
    sent = submitted(site)
    busy_w = 1.02 * CUT_FRAC * FULL_W  # the cut bites; how much more it is depends on whom Slurm starts first
    site.until(lambda: len(site.hardware.jobs) >= 6 and site.hardware.drawn_w() > busy_w, "the site is busy", 240)
    time.sleep(75.0)  # jobs are known by then
    cut_s = time.monotonic()
    site.limit(CUT_FRAC * FULL_W)
    site.until(lambda: site.hardware.allowed_w() <= CUT_FRAC * FULL_W, "all limits together fit", SETTLED_S)
    print(f"limits fit {time.monotonic() - cut_s:.1f} s after the file was written")
    paused: set[str] = set()
    while time.monotonic() < cut_s + CUT_S:
        paused |= {job for job, state in states(site).items() if state == "SUSPENDED"}
        time.sleep(2.0)
    back_s = time.monotonic()
    site.limit(FULL_W)
    site.until(lambda: "SUSPENDED" not in states(site).values(), "all that was suspended goes on", 400.0)
    print(f"all {len(paused)} suspended jobs went on {time.monotonic() - back_s:.0f} s after the limit came back")
    steps = [(site.hardware.samples[0].at_s, FULL_W), (cut_s, CUT_FRAC * FULL_W), (back_s, FULL_W)]
    print(picture(site.hardware, steps, "A limit that falls by 30 % for five minutes", "slurm-cut"))

    record = site.folder / "record-0" / "record.jsonl"
    print(f"{len(broken(record))} job-seconds below contract, needless for {needless_s(record):.0f} s in a row")
    assert needless_s(record) <= REACTION_S

    found = states(site)
    assert found.keys() >= sent.keys()
    assert set(Counter(found.values())) <= set(OVER), Counter(found.values())
    assert not site.hardware.over(FULL_W)
    assert not site.hardware.over(CUT_FRAC * FULL_W, cut_s + SETTLED_S, back_s)
    assert not [
        s for s in site.hardware.samples if cut_s + SETTLED_S < s.at_s < back_s and s.allowed_w > 0.7001 * FULL_W
    ]
    assert not {sent[job].name for job in paused if "not-pausable" in sent[job].comment}
