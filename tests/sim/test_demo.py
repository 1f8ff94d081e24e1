"""`wattlease demo`: the process, its page, a person's orders, and its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from wattlease.sim.demo_site import DemoSite

READY_S = 60.0
"""A shared machine is slow; on an idle one the page is there in three seconds."""


class Running:
    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url

    def asked(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": "application/json", "Origin": self.url, "X-Wattlease": "demo"}
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def view(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.asked("/api/view"))
        return found

    def until(self, holds: Callable[[dict[str, Any]], bool], within_s: float = 80.0) -> dict[str, Any]:
        ends_s = time.monotonic() + within_s
        while not holds(view := self.view()):
            assert time.monotonic() < ends_s, (view["limit_w"], view["draw_w"], view["state"])
            time.sleep(0.2)
        return view


def agents() -> set[str]:
    """Process ids of demos' agents on this machine."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            command = (process / "cmdline").read_bytes()
            if b"wattlease-demo-" in command and b"agent" in command:
                found.add(process.name)
    return found


@pytest.fixture(scope="module")
def demo() -> Iterator[Running]:
    run = "from wattlease.runtime.cli import main; main()"
    words = [sys.executable, "-c", run, "demo", "--port", "0", "--speed", "20", "--no-open"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stderr
    first = process.stdout.readline()
    assert first, process.stderr.read()
    yield Running(process, first.split()[0])
    process.kill()
    process.communicate()


def test_the_first_line_names_the_page_and_says_that_all_is_virtual(demo):
    assert demo.url.startswith("http://127.0.0.1:")
    assert b"<html" in demo.asked("/")


def test_every_job_has_its_watts_and_its_reason(demo):
    view = demo.until(lambda v: len(v["history"]["t_s"]) > 10)
    assert len(view["jobs"]) >= 10
    assert all(job["reason"] for job in view["jobs"])
    assert {job["cluster"] for job in view["jobs"]} == {"k8s-east", "slurm-west"}
    assert [job["name"] for job in view["jobs"] if job["protected"]] == ["chat"]
    history = view["history"]
    parts_w = np.sum([s["watts_w"] for s in history["series"]], axis=0) - np.array(history["storage_w"])
    assert parts_w == pytest.approx(history["draw_w"])
    assert view["limits"][0]["binds"]
    assert [row["source"] for row in view["limits"][1:]] == ["redundancy", "breaker"]
    forecast = view["forecast"]
    assert np.all(np.array(forecast["p90_w"]) <= np.array(forecast["limit_w"]) + 1e-6)


def test_a_limit_that_a_person_lowers_is_kept(demo):
    demo.asked("/api/controls/limit", {"limit_w": 88_000})
    view = demo.until(lambda v: v["limit_w"] == 88_000 and v["draw_w"] < 88_000)
    assert any("a person set the limit to 88.0 kW" in event["text"] for event in view["events"])
    lower = demo.until(lambda v: v["now_s"] > view["now_s"] + 60)
    assert lower["draw_w"] < 88_000 * 1.01


def test_a_limit_out_of_range_is_refused_with_what_would_be_right(demo):
    with pytest.raises(urllib.error.HTTPError) as refused:
        demo.asked("/api/controls/limit", {"limit_w": 1000})
    assert refused.value.code == 400
    assert b"send watts from" in refused.value.read()


def test_a_huge_job_appears_with_its_reason_and_reset_sends_it_away(demo):
    demo.asked("/api/controls/job", {"gpus": 64, "kind": "Training"})
    view = demo.until(lambda v: any(j["name"] == "huge-training" for j in v["jobs"]))
    assert next(j["reason"] for j in view["jobs"] if j["name"] == "huge-training")
    demo.asked("/api/controls/reset", {})
    fresh = demo.until(lambda v: all(j["name"] != "huge-training" for j in v["jobs"]))
    assert fresh["limit_w"] == 122_500


def test_each_node_has_an_agent_process_that_holds_its_limits(demo):
    demo.until(lambda v: any("16 agents hold" in event["text"] for event in v["events"]), within_s=90.0)
    assert len(agents()) == 16


def test_ctrl_c_ends_it_and_its_agents_cleanly(demo):
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(15) == 0
    assert demo.process.stderr.read() == ""
    assert agents() == set()


@pytest.fixture(scope="module")
def site() -> DemoSite:
    return DemoSite()


def test_an_event_sets_the_limit_from_what_is_drawn_and_ends_by_itself(site):
    drawn_w = site.advance(60).draw_w
    assert drawn_w is not None
    assert site.start_event(0.1, 60.0, 10.0) is None
    held = site.advance(40)
    assert held.limit_w == pytest.approx(0.9 * drawn_w, rel=0.1)
    assert "order-1" in held.binding
    assert site.advance(40).limit_w == 122_500
    assert site.start_event(0.1, 60.0, 10.0) is None
    assert [e.name for e in site.plant.site.scopes[0].budget.spec.demand_response] == ["order-2"]


def test_a_ramp_longer_than_its_event_is_refused(site):
    refused = site.start_event(0.2, 30.0, 60.0)
    assert refused is not None
    assert refused.field == "ramp_s"


def test_a_job_goes_to_a_cluster_that_is_large_enough(site):
    assert site.submit_job(64, "Batch") is None
    assert "huge-batch" in site.plant.work.words[0]
