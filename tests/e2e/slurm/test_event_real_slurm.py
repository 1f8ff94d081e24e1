"""A grid event that is known six minutes before it begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from slurm_cluster import Cluster
from slurm_picture import picture
from slurm_site import JOB_SUBMIT, Site
from slurm_work import Work

FULL_W, EVENT_W = 24_000.0, 17_000.0
EIGHT = ("--gres=gpu:8", "--comment=wattlease:max-slowdown=10,not-pausable")
"""Two such do not fit into the event together; owners who agree to less speed would see both run, capped."""

AHEAD_S, LASTS_S = 360.0, 300.0


@pytest.mark.timeout(900)
def test_a_job_that_would_overlap_an_announced_event_waits_and_a_short_one_runs_first(
    new_cluster: Callable[..., Cluster],
) -> None:
    cluster = new_cluster("event", licences="power:22400", job_submit=JOB_SUBMIT)
    site = Site(cluster, [Work("*", 600.0, noise_frac=0.05)], limit_w=FULL_W)
    with site.running():
        begins_s = time.time() + AHEAD_S
        event = {
            "name": "grid",
            "start": datetime.fromtimestamp(begins_s, UTC).isoformat(),
            "end": datetime.fromtimestamp(begins_s + LASTS_S, UTC).isoformat(),
            "limitWatts": round(EVENT_W),
        }
        known_s = time.monotonic()
        site.limit(FULL_W, demandResponse=[event])
        site.until(lambda: "wattlease-" in cluster.run("scontrol", "-o", "show", "reservation"), "it is reserved for")
        first = cluster.submit("sleep 900", *EIGHT, "--time=15", user="alice")
        cluster.reaches(first, "RUNNING")
        long = cluster.submit("sleep 900", *EIGHT, "--time=15", user="alice")
        short = cluster.submit("sleep 60", *EIGHT, "--time=2", user="bob")
        cluster.reaches(short, "RUNNING", 60.0)
        assert cluster.state(long) == "PENDING"
        print(f"the long one waits for {cluster.job(long)['Reason']}")
        while time.time() < begins_s + 60.0:
            assert cluster.state(long) == "PENDING", told(cluster, time.time() - begins_s)
            assert cluster.state(first) == "RUNNING"
            time.sleep(2.0)
        event_s = known_s + AHEAD_S
        print(picture(site.hardware, [(known_s, FULL_W), (event_s, EVENT_W)], "An announced event", "slurm-event"))
        assert not site.hardware.over(EVENT_W, event_s + 1.0)
        assert "SUSPENDED" not in cluster.run("squeue", "-h", "-o", "%T")


def told(cluster: Cluster, since_s: float) -> str:
    """What Slurm holds, for whom a failure puzzles."""
    shown = [cluster.run("scontrol", "-o", "show", what) for what in ("licenses", "reservation", "job")]
    return "\n".join((f"{since_s:.1f} s after the event began", *shown))
