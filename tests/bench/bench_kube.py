"""What Wattlease costs a Kubernetes cluster: one tick with 5,000 pods, Kueue's work beside our check, an idle operator.

    bench_kube.py [--only tick|cluster] [--pods 5000] [--workloads 1500] [--rounds 3]

The tick: from what the API server last told to columns, and the core's decision on them. The cluster is a real control
plane with Kueue, four nodes that KWOK plays, and real agents, as built by `make e2e-kube`; where it was not built that
part says so. By turns, workloads of three sizes that end by themselves go through a queue without our AdmissionCheck
and one with it; watts are never short.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
for folder in ("common", "kube/bodies", "kube/real", "slurm/real"):  # bodies, the control plane, its cards
    sys.path.insert(0, str(ROOT / "tests" / folder))

from kube_bench import Shelf  # noqa: E402
from kube_binaries import Binaries, BinariesError  # noqa: E402
from kube_bodies import RESOURCES, T0_S, cluster, job, node, pod  # noqa: E402
from kube_kueue import kueue, queue  # noqa: E402
from kube_kwok import GPUS, kwok  # noqa: E402
from kube_loads import CHECK, LIMIT_W_A_NODE, admission_check  # noqa: E402
from kube_plane import ControlPlane  # noqa: E402
from kube_site import Site  # noqa: E402
from kube_work import job as work  # noqa: E402
from slurm_work import Work  # noqa: E402

from wattlease.core.api import PowerBudget  # noqa: E402
from wattlease.core.decide import decide  # noqa: E402
from wattlease.core.memory import FRESH  # noqa: E402
from wattlease.core.model import Floats, GpuReadings, NodeReadings, Snapshot  # noqa: E402
from wattlease.core.model import Site as CoreSite  # noqa: E402
from wattlease.runtime.lease.report import CardReport, Share  # noqa: E402
from wattlease.runtime.site import site_of  # noqa: E402
from wattlease.runtime.site_words import Group  # noqa: E402
from wattlease_operator.workload import KubeWorkload  # noqa: E402

RATIO_AIM = 1.05
A_JOB = 5
"""Pods of each job of the tick."""
NODES = ("gpu-1", "gpu-2", "gpu-3", "gpu-4")
SHAPES = ((0.7, 1, "1s"), (0.2, 4, "2s"), (0.1, 8, "4s"))
"""Of the workloads so large a part, each with so many GPUs, for so long."""
IDLE_S = 60.0
MOST_CALLS = 8
TICKS = 5


# One tick


def tick(pods: int) -> None:
    """Print what the operator's part of a tick takes."""
    jobs = [job(f"j{i}", 1, pods=A_JOB) for i in range(pods // A_JOB)]
    of = [(f"j{i // A_JOB}", f"j{i // A_JOB}-{i % A_JOB}", f"n{i // GPUS}") for i in range(pods)]
    bodies = [pod(name, 1, owner=("Job", own), node=on, phase="Running") for own, name, on in of]
    names = [f"n{n}" for n in range(-(-pods // GPUS))]
    cache = cluster(jobs=jobs, pods=bodies, nodes=[node(name) for name in names])
    workload = KubeWorkload("c1", cache, None, Shelf())  # type: ignore[arg-type]  # nothing is written
    site, cards = _site(names), [_card(name) for _, name, _ in of]
    cards += [None] * (len(site.gpus.node) - pods)
    draws_w = np.full(len(cards), 300.0)

    def columns() -> None:
        workload.jobs(site, cards, draws_w, T0_S + 100.0)

    first_ms, same_ms = _took_ms(columns), statistics.median(_took_ms(columns) for _ in range(9))
    changed = pod(of[0][1], 1, owner=("Job", of[0][0]), node=of[0][2], phase="Running", resourceVersion="9")
    cache.put(RESOURCES["pods"], changed)
    news_ms = _took_ms(columns)
    memory, decide_ms = FRESH, 0.0
    for tick_s in range(TICKS):
        snapshot = _snapshot(site, workload, cards, draws_w, T0_S + 100.0 + tick_s)
        began_s = time.process_time()
        _, memory = decide(snapshot, memory)
        decide_ms = 1e3 * (time.process_time() - began_s)
    print(
        f"{pods} pods of {len(jobs)} jobs, CPU: columns {first_ms:.0f} ms at first, {news_ms:.0f} ms after one pod has"
    )
    print(f"    changed, {same_ms:.0f} ms where nothing is new; the decision {decide_ms:.0f} ms")


def _snapshot(
    site: CoreSite, workload: KubeWorkload, cards: list[CardReport | None], draws_w: Floats, now_s: float
) -> Snapshot:
    jobs, of = workload.jobs(site, cards, draws_w, now_s)
    gpus = GpuReadings(draws_w, np.zeros(len(draws_w)), site.gpus.max_cap_w, of)
    unheard = np.full(len(site.nodes.id), np.nan)
    nodes = NodeReadings(unheard, np.full(len(unheard), np.inf), site.nodes.nameplate_w)
    return Snapshot(now_s, replace(site, terms=workload.terms), gpus, nodes, jobs)


def _took_ms(do: Callable[[], object]) -> float:
    began_s = time.process_time()
    do()
    return 1e3 * (time.process_time() - began_s)


def _site(names: list[str]) -> CoreSite:
    budget = PowerBudget.model_validate({"metadata": {"name": "hall"}, "spec": {"limitWatts": 20_000_000}})
    group = {"name": "a", "cluster": "c1", "budget": "hall", "nodes": len(names), "nodeNames": names}
    group |= {"gpusPerNode": GPUS, "gpuModel": "H100", "nodeNameplateWatts": 10_200}
    return site_of("hall", (Group.model_validate(group),), (budget,), ())


def _card(holder: str) -> CardReport:
    return CardReport(
        uuid="GPU", index=0, model="H100", age_s=0.1, power_w=500.0, energy_j=None, limit_w=700.0, min_w=200.0,
        max_w=700.0, shares=(Share(job=f"ml/{holder}", share_frac=1.0),),
    )  # fmt: skip


# A real cluster


def on_a_cluster(workloads: int, rounds: int) -> None:
    """Print Kueue's time with our check as a ratio of that without, and what an idle operator takes."""
    try:
        binaries = Binaries.standing()
    except BinariesError as missing:
        print(f"a real cluster: left out, {missing}")
        return
    with tempfile.TemporaryDirectory(prefix="bench-kube-") as folder, _up(binaries, Path(folder)) as site:
        _throughput(site.plane, workloads, rounds)
        _idle(site)


@contextmanager
def _up(binaries: Binaries, folder: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(binaries, folder))
        stack.enter_context(kwok(plane, NODES))
        stack.enter_context(kueue(plane))
        limit_w = 2.0 * LIMIT_W_A_NODE * len(NODES)
        site = Site(plane, NODES, (Work("*", 400.0, noise_frac=0.05),), limit_w=limit_w)
        plane.apply(admission_check())
        for name, checks in (("plain", ()), ("checked", (CHECK,))):
            plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            plane.apply(*queue(len(NODES) * GPUS, name=name, namespace=name, checks=checks))
        yield stack.enter_context(site.running())


def _throughput(plane: ControlPlane, workloads: int, rounds: int) -> None:
    each, took_s = workloads // rounds, dict[str, list[float]](plain=[], checked=[])
    for turn in range(rounds):
        for name in ("plain", "checked") if turn % 2 == 0 else ("checked", "plain"):
            took_s[name].append(_through(plane, name, f"r{turn}", each))
            print(f"  {each} workloads, queue {name}: {took_s[name][-1]:.1f} s", flush=True)
    ratio = sum(took_s["checked"]) / sum(took_s["plain"])
    print(f"{each * rounds} workloads through Kueue: with our check {ratio:.2f} times as long (aim {RATIO_AIM})")


def _through(plane: ControlPlane, queue_name: str, mark: str, count: int) -> float:
    """Seconds from the first submit to the end of the last."""
    chance = random.Random(mark)
    shapes = chance.choices(SHAPES, [share for share, _, _ in SHAPES], k=count)
    jobs = [
        work(f"{mark}-{i}", gpus, queue_name, queue=queue_name, lasts=span) for i, (_, gpus, span) in enumerate(shapes)
    ]
    began_s = time.monotonic()
    plane.kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(jobs), timeout_s=600.0)
    plane.until(lambda: _ended(plane, queue_name, mark) == count, "all workloads have ended", 3600.0)
    return time.monotonic() - began_s


def _ended(plane: ControlPlane, namespace: str, mark: str) -> int:
    time.sleep(0.5)
    found: list[dict[str, Any]] = plane.read(f"/apis/batch/v1/namespaces/{namespace}/jobs")["items"]
    return sum("completionTime" in j["status"] for j in found if j["metadata"]["name"].startswith(f"{mark}-"))


def _idle(site: Site) -> None:
    """What an operator takes where nothing happens: requests by the API server's count, with it less without."""
    time.sleep(15.0)
    operator = site.operators[0]
    before_s = _cpu_s(operator.pid)
    beside = _asked(site.plane)
    cpu_s, memory_mb = _cpu_s(operator.pid) - before_s, _memory_mb(operator.pid)
    operator.terminate()
    time.sleep(5.0)
    own = beside - _asked(site.plane)  # of counts, none below 0
    used = 100.0 * cpu_s / IDLE_S
    print(
        f"an idle operator: {own.total()} API calls a minute, {memory_mb:.0f} MB, {used:.1f} % of a core; most of them:"
    )
    for what, calls in own.most_common(MOST_CALLS):
        print(f"    {calls} {what}")


def _asked(plane: ControlPlane) -> Counter[str]:
    """What the API server was asked within a minute."""
    began = _requests(plane)
    time.sleep(IDLE_S)
    return _requests(plane) - began


def _requests(plane: ControlPlane) -> Counter[str]:
    """The API server's own count of what it was asked since it began, by verb and resource."""
    found = Counter[str]()
    for family in text_string_to_metric_families(plane.kubectl("get", "--raw", "/metrics")):
        for sample in family.samples:
            if sample.name == "apiserver_request_total":
                found[f"{sample.labels['verb']} {sample.labels['resource']}"] += round(sample.value)
    return found


def _cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100.0


def _memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024.0


def main() -> None:
    """Print the figures."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", choices=("tick", "cluster"))
    asked.add_argument("--pods", type=int, default=5_000)
    asked.add_argument("--workloads", type=int, default=1_500)
    asked.add_argument("--rounds", type=int, default=3)
    told = asked.parse_args()
    if told.only != "cluster":
        tick(told.pods)
    if told.only != "tick":
        on_a_cluster(told.workloads, told.rounds)


if __name__ == "__main__":
    main()
