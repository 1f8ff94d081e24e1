"""What Wattlease costs a real Slurm, and how fast a Slurm site obeys: submits, a queue of 10,000 jobs, cuts.

    SLURM=24.11.5 bench_slurm.py [--only submit|queue|cut] [--rounds 8] [--jobs 10000] [--cuts 8]

Wants root, for a Slurm in namespaces of its own; where there can be none it says so and ends well. Submits: sbatch by
four clients at once, of held jobs, so that nothing but the submit is compared; each client submits by turns to a
slurmctld without a submit script, one with a script that does nothing, and one with Wattlease's, all three alike else.
The queue: of real jobs that differ in name, user, wishes and size. Cuts: of a site with four nodes of eight busy cards,
a real agent on each; from the file with the new limit to the last card's limit, as its driver gives it back.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[2]
for folder in ("common", "slurm/real"):  # the cluster and its hardware stand in modules there
    sys.path.insert(0, str(ROOT / "tests" / folder))

from slurm_cluster import Cluster  # noqa: E402
from slurm_installation import Installation, InstallationError  # noqa: E402
from slurm_site import JOB_SUBMIT, Site  # noqa: E402
from slurm_work import Work  # noqa: E402

from wattlease.core.decide import decide  # noqa: E402
from wattlease.core.memory import FRESH  # noqa: E402
from wattlease.runtime.controller.controller import terms_of  # noqa: E402
from wattlease.runtime.controller.observe import Observer  # noqa: E402
from wattlease.runtime.files import load  # noqa: E402
from wattlease.runtime.lease.grantor import Grantor, Heard  # noqa: E402
from wattlease.runtime.lease.leadership import Term  # noqa: E402
from wattlease.runtime.lease.report import CardReport, NodeReport  # noqa: E402
from wattlease.runtime.lease.store import StateFolder  # noqa: E402
from wattlease.runtime.site import membership_of  # noqa: E402
from wattlease_slurm.backends import backend_of  # noqa: E402
from wattlease_slurm.settings import SlurmSettings  # noqa: E402
from wattlease_slurm.verdict import Verdict, draw_key  # noqa: E402
from wattlease_slurm.words import Queue, Trouble  # noqa: E402
from wattlease_slurm.workload import SlurmWorkload  # noqa: E402

RATE_AIM, CUT_AIM_S = 0.97, 10.0
CLIENTS = 4
ROOMY = {"MaxJobCount": "100000", "MinJobAge": "2"}
FULL_W, CUT_W = 24_000.0, 16_800.0
SETTLE_S = 12.0
NOTHING = "function slurm_job_submit() return slurm.SUCCESS end\nfunction slurm_job_modify() return slurm.SUCCESS end\n"

Told = TypeVar("Told")


# Submits


SUBMIT = """
for client in $(seq {clients}); do
  (for i in $(seq {each}); do
    n=$((client * {each} + i))
    sbatch --parsable --chdir=/tmp --output=/dev/null --job-name=train-$((n % 40)) --time=$((30 + n % 600)) \\
      --gres=gpu:h100:$((1 + n % 8)) --comment=wattlease:pausable,max-slowdown=$((n % 50)) {more} --wrap='sleep 600' \\
      >/dev/null || echo "$n: not taken" >&2
  done) &
done; wait
"""


def submitted(cluster: Cluster, jobs: int, more: str, user: str = "alice") -> float:
    """Submit so many jobs by `CLIENTS` at once; return how long it took."""
    begun_s = time.perf_counter()
    script = SUBMIT.format(clients=CLIENTS, each=jobs // CLIENTS, more=more)
    cluster.run("/bin/sh", "-c", script, user=user, timeout_s=3600.0)
    return time.perf_counter() - begun_s


@contextmanager
def verdicts(cluster: Cluster, entries: int = 1000) -> Iterator[None]:
    """A verdict of a site with many users, another one every five seconds, as the daemon writes it."""
    over = threading.Event()
    draws = {draw_key("bob", f"job{i}" + "x" * (i % 9), "h100"): 400.0 + i % 300 for i in range(entries)}

    def write() -> None:
        while True:
            draws[draw_key("alice", "train-1", "h100")] = 500.0 + time.time() % 100
            rated = {"h100": 700.0, "*": 700.0}
            Verdict(time.time(), 22_400, rated_w=rated, draw_w=draws).write(cluster.folder / "run" / "verdict")
            if over.wait(5.0):
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


KINDS = {"none": "no submit script", "nothing": "one that does nothing", "wattlease": "Wattlease"}

TAKE_TURNS = """
cd /tmp
for client in $(seq {clients}); do
  (for i in $(seq {each}); do
    n=$((client * {each} + i))
    for turn in 0 1 2; do
      set -- {kinds}; shift $(((n + turn) % 3)); kind=$1
      begun=$EPOCHREALTIME
      SLURM_CONF={folder}/$kind/slurm.conf sbatch --hold --output=/dev/null --job-name=train-$((n % 40)) \\
        --time=$((30 + n % 600)) --gres=gpu:h100:$((1 + n % 8)) --wrap='sleep 600' \\
        --comment=wattlease:pausable,max-slowdown=$((n % 50)) >/dev/null || exit 1
      ended=$EPOCHREALTIME
      echo $kind $((${{ended/./}} - ${{begun/./}}))
    done
  done) &
done; wait
"""


def controller(cluster: Cluster, kind: str, port: int) -> str:
    """A further slurmctld in the room, with a submit script of this kind; return its process id there."""
    folder = cluster.folder / kind
    shutil.copytree(JOB_SUBMIT, folder)
    if kind == "nothing":
        (folder / "job_submit.lua").write_text(NOTHING)
    shutil.copy(cluster.slurm_conf.with_name("gres.conf"), folder)
    shutil.copy(cluster.slurm_conf.with_name("cgroup.conf"), folder)
    own = {"SlurmctldPidFile": f"{folder}/pid", "StateSaveLocation": f"{folder}/state", "ClusterName": kind}
    own |= {"SlurmctldLogFile": f"{folder}/log", "JobSubmitPlugins": "" if kind == "none" else "lua"}
    lines = [line for line in cluster.slurm_conf.read_text().splitlines() if line.partition("=")[0] not in own]
    lines += [f"SlurmctldPort={port}", *(f"{name}={value}" for name, value in own.items() if value)]
    (folder / "slurm.conf").write_text("\n".join([*lines, ""]))
    cluster.room.run("slurmctld", "-f", f"{folder}/slurm.conf", living=True)
    ping = f"SLURM_CONF={folder}/slurm.conf scontrol ping || :"  # which ends badly where none answers
    cluster.until(lambda: " UP" in cluster.run("/bin/sh", "-c", ping), f"{kind} answers")
    return (folder / "pid").read_text().strip()


def queued(cluster: Cluster, kind: str) -> str:
    """The licences of its jobs."""
    return cluster.run("env", f"SLURM_CONF={cluster.folder / kind}/slurm.conf", "squeue", "-h", "-o", "%W")


def cpu_s(cluster: Cluster, pid: str) -> float:
    fields = cluster.run("cat", f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def turns(cluster: Cluster, jobs: int) -> dict[str, float]:
    """Submit so many jobs of each kind, one after the other; return the seconds that each kind's took in all."""
    script = TAKE_TURNS.format(
        clients=CLIENTS, each=jobs // CLIENTS, kinds=" ".join(2 * [*KINDS]), folder=cluster.folder
    )
    took_s = dict.fromkeys(KINDS, 0.0)
    for line in cluster.run("/bin/bash", "-c", script, timeout_s=3600.0).splitlines():
        kind, micros = line.split()
        took_s[kind] += int(micros) / 1e6
    return took_s


def submits(installation: Installation, folder: Path, rounds: int, jobs: int) -> None:
    cluster = Cluster(installation, folder, licences="power:22400", conf=ROOMY)
    with cluster, verdicts(cluster):
        pids = {kind: controller(cluster, kind, 6901 + i) for i, kind in enumerate(KINDS)}
        turns(cluster, 5 * CLIENTS)  # warm
        asking = {kind: "power:" in queued(cluster, kind) for kind in KINDS}
        assert asking == {"none": False, "nothing": False, "wattlease": True}, asking
        spent_s = {kind: -cpu_s(cluster, pid) for kind, pid in pids.items()}
        took = [turns(cluster, jobs) for _ in range(rounds)]
        spent_s = {kind: spent_s[kind] + cpu_s(cluster, pid) for kind, pid in pids.items()}
    told = rounds * (jobs // CLIENTS) * CLIENTS
    print(f"{told} held jobs for each of three slurmctld by turns, {CLIENTS} clients:")
    took_s = {kind: sum(one[kind] for one in took) for kind in KINDS}
    for kind, name in KINDS.items():
        ms, cpu_ms = took_s[kind] / told * 1e3, spent_s[kind] / told * 1e3
        print(f"  {name:22} sbatch takes {ms:6.2f} ms, {cpu_ms:.2f} ms of slurmctld's CPU")
    for base in ("none", "nothing"):
        ratios = [one[base] / one["wattlease"] for one in took]
        print(
            f"  rate against {KINDS[base]}: {took_s[base] / took_s['wattlease']:.3f} (aim {RATE_AIM});"
            f" {rounds} parts, {min(ratios):.3f} to {max(ratios):.3f}"
        )


# One tick with a long queue


def timed(what: str, times: int, act: Callable[[], Told]) -> Told:
    """Print median wall and CPU time."""
    spent: list[tuple[float, float]] = []
    for _ in range(times):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        told = act()
        spent.append((time.perf_counter() - wall_s, time.process_time() - cpu_s))
    wall_ms, cpu_ms = (statistics.median(part) * 1e3 for part in zip(*spent, strict=True))
    print(f"  {what:44} {wall_ms:7.0f} ms, of this process {cpu_ms:6.0f} ms of CPU")
    return told


def reports(settings: SlurmSettings, now_s: float) -> dict[str, Heard]:
    """What four busy nodes say."""
    card = {"model": "H100", "age_s": 0.2, "power_w": 600.0, "limit_w": 700.0, "min_w": 200.0, "max_w": 700.0}
    cards = tuple(CardReport(uuid=f"GPU-{i}", index=i, energy_j=None, **card) for i in range(8))
    return {name: Heard(NodeReport(cards=cards), now_s) for group in settings.groups for name in group.names}


def queue(installation: Installation, folder: Path, jobs: int) -> None:
    with Cluster(installation, folder, licences="power:22400", conf=ROOMY) as cluster:
        took_s = submitted(cluster, jobs // 2, "-L power:$((600 + n % 700))")
        took_s += submitted(cluster, jobs // 2, "-L power:$((600 + n % 700))", "bob")
        print(f"a queue of {jobs} different jobs on 32 GPUs, submitted in {took_s:.0f} s:")
        site = Site(cluster, [Work("*", 600.0)], limit_w=FULL_W)
        asyncio.run(tick(load(site.files[0], SlurmSettings), folder))


async def tick(settings: SlurmSettings, folder: Path) -> None:
    """The daemon's parts one after the other, as `Controller` calls them."""
    backend = await backend_of(settings.slurm)
    assert not isinstance(backend, Trouble), backend
    await timed_queue(backend)
    workload = SlurmWorkload(settings, backend)
    looking = asyncio.create_task(workload.run())
    await asyncio.sleep(8.0)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    observer = Observer(settings, workload)
    terms = terms_of(settings, observer.site)
    grantor = Grantor(terms, membership_of(observer.site), StateFolder(folder / "bench-state"))
    await grantor.begin(Term(1, float("inf")))
    ledger = grantor.ledger
    assert ledger is not None
    heard = reports(settings, grantor.now())
    snapshot = timed("columns and snapshot", 9, lambda: observer.snapshot(heard, ledger, grantor.now(), time.time()))
    plan, memory = decide(snapshot, FRESH)
    plan, memory = timed("decide", 9, lambda: decide(snapshot, memory))
    timed("orders", 9, lambda: workload.act(snapshot, plan, memory))
    print(f"  {len(snapshot.jobs.id)} of the jobs are the core's affair")


async def timed_queue(backend: Any) -> None:
    for what, times in (("the queue, read for the first time", 1), ("the queue, read again", 5)):
        spent: list[tuple[float, float]] = []
        for _ in range(times):
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            found = await backend.queue()
            assert isinstance(found, Queue), found
            spent.append((time.perf_counter() - wall_s, time.process_time() - cpu_s))
        wall_ms, cpu_ms = (statistics.median(part) * 1e3 for part in zip(*spent, strict=True))
        print(f"  {what:44} {wall_ms:7.0f} ms, of this process {cpu_ms:6.0f} ms of CPU ({len(found.jobs)} jobs)")


# Cuts


def cut(installation: Installation, folder: Path, cuts: int) -> None:
    cluster = Cluster(installation, folder, licences="power:22400", job_submit=JOB_SUBMIT)
    with cluster, Site(cluster, [Work("*", 600.0, noise_frac=0.05)], limit_w=FULL_W, budget=QUICK).running() as site:
        for i in range(4):
            cluster.submit("sleep 3600", "--gres=gpu:8", "--time=60", f"--job-name=job{i}", user="alice")
        site.until(lambda: site.hardware.drawn_w() > 0.9 * CUT_W, "the site is busy", 120.0)
        spent_s = []
        for _ in range(cuts):
            time.sleep(SETTLE_S)
            begun_s = time.monotonic()
            site.limit(CUT_W)
            site.until(lambda: site.hardware.allowed_w() <= CUT_W, "all limits together fit", 30.0)
            spent_s.append(_last_change_s(site, begun_s))
            site.limit(FULL_W)
            site.until(lambda: site.hardware.allowed_w() > 1.2 * CUT_W, "limits rise again", 60.0)
    print(
        f"{cuts} cuts from {FULL_W:.0f} to {CUT_W:.0f} W: the last card's limit fell after"
        f" {statistics.median(spent_s):.2f} s, worst {max(spent_s):.2f} s (aim {CUT_AIM_S:g} s)"
    )


QUICK = {"ramp": {"releasePercentPerMinute": 100}, "dwell": {"pauseSeconds": 600, "holdSeconds": 1}}


def _last_change_s(site: Site, begun_s: float) -> float:
    """From the new limit to the first sample, of one every 50 ms, at which all cards' limits together fit."""
    while True:
        fitting = next((s for s in site.hardware.samples if s.at_s > begun_s and s.allowed_w <= CUT_W), None)
        if fitting:
            return fitting.at_s - begun_s
        time.sleep(0.05)


def main() -> None:
    """Run what is asked for, or all of it."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", choices=("submit", "queue", "cut"))
    asked.add_argument("--rounds", type=int, default=8)
    asked.add_argument("--block", type=int, default=200, help="jobs submitted in one block")
    asked.add_argument("--jobs", type=int, default=10_000)
    asked.add_argument("--cuts", type=int, default=8)
    told = asked.parse_args()
    version = os.environ.get("SLURM", "24.11.5")
    try:
        installation = Installation.of(version)
    except InstallationError as error:
        print(f"no Slurm {version} here, so nothing is measured: {error}")
        return
    print(f"Slurm {version}")
    parts: dict[str, Callable[[Path], None]] = {
        "submit": lambda folder: submits(installation, folder, told.rounds, told.block),
        "queue": lambda folder: queue(installation, folder, told.jobs),
        "cut": lambda folder: cut(installation, folder, told.cuts),
    }
    for name, part in parts.items():
        if told.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="wattlease-bench-") as folder:
                part(Path(folder))


if __name__ == "__main__":
    main()
