"""Everything the backend reads of Slurm and does to it, on a real one."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from slurm_cluster import Cluster
from slurm_installation import Installation
from slurm_room import CommandFailed

from wattlease_slurm.cli_backend import CliBackend
from wattlease_slurm.cli_run import Commands
from wattlease_slurm.cli_said import why
from wattlease_slurm.hostlist import nodes_of
from wattlease_slurm.words import Config, Held, Queue, Reservation, SlurmJob, SlurmNode, State, Trouble, Why

SLEEP = "sleep 300"
STALL_S = 60.0
"""How long what hangs would hang: far more than a busy machine adds to anything."""

FORGED = "a | b\nJobId=1 JobName=plain UserId=x Restarts=9 Network=(null)\x1f é ünï"


@pytest.fixture(scope="module")
def site(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("site")
    with Cluster(installation, folder, licences="power:10000,fluent:20", conf={"MaxJobCount": "20000"}) as found:
        yield found


@pytest.fixture
def calm(site: Cluster) -> Iterator[Cluster]:
    yield site
    site.run("scancel", "--user=root")
    site.run("scancel", "--user=alice")
    for name in re.findall(r"ReservationName=(\S+)", site.run("scontrol", "-o", "show", "reservation")):
        site.run("scontrol", "delete", f"ReservationName={name}")
    site.until(lambda: not site.run("squeue", "-h"), "all jobs are gone")


@pytest.fixture
def backend(site: Cluster) -> CliBackend:
    return CliBackend(Commands(site.bin, acts_per_s=50, remarks_per_s=50))


async def jobs(backend: CliBackend) -> dict[str, SlurmJob]:
    queue = await backend.queue()
    assert isinstance(queue, Queue), queue
    return {job.id: job for job in queue.jobs}


async def job_in(backend: CliBackend, job: str, state: State) -> SlurmJob:
    """The job, once it is in this state."""
    until_s = time.monotonic() + 20
    while (found := (await jobs(backend)).get(job)) is None or found.state is not state:
        assert time.monotonic() < until_s, found
        await asyncio.sleep(0.1)
    return found


async def holds(backend: CliBackend) -> dict[str, Reservation]:
    found = await backend.reservations()
    assert isinstance(found, tuple), found
    return {hold.name: hold for hold in found}


async def test_jobs_of_every_kind_are_read_whole(calm: Cluster, backend: CliBackend) -> None:
    plain = calm.submit(SLEEP, "-Jplain", "--gres=gpu:2", "-t60", "-Lpower:500,fluent:2")
    odd = calm.submit(
        SLEEP, "-Jname with | and\nJobId=1 JobName=plain", f"--comment={FORGED}", "--gpus=3", user="alice"
    )
    whole = calm.submit(SLEEP, "-Jwhole", "--exclusive", "-N1", "--no-requeue", "-t1-02:03:00")
    wide = calm.submit(SLEEP, "-Jwide", "-N2", "--gpus-per-node=h100:1")
    task = calm.submit(SLEEP, "-Jtask", "-n2", "--gpus-per-task=1", "-Lpower:9800")
    array = calm.submit(SLEEP, "-Jarray", "--array=1-50:7%2", "--gpus-per-node=1", "-Lpower:10")
    held = calm.submit(SLEEP, "-H", "--gpus=4", user="alice")
    pair = calm.submit(SLEEP, "--gres=gpu:1", ":", "-n1")
    await job_in(backend, f"{array}_8", State.RUNNING)
    await job_in(backend, f"{pair}+1", State.RUNNING)
    calm.until(lambda: calm.job(task)["Reason"] == "Licenses", "it was looked at")
    read = await jobs(backend)

    assert (read[plain].gpus, read[plain].gpu_type, read[plain].time_limit_s) == (2, "h100", 3600.0)
    assert read[plain].licences == {"power": 500, "fluent": 2}
    assert read[plain].restarts == 0
    assert [(len(cards), set(cards) <= set(range(8))) for cards in read[plain].gpu_indices.values()] == [(2, True)]
    assert tuple(read[plain].gpu_indices) == read[plain].nodes
    assert read[plain].start_s == read[plain].since_s >= read[plain].submit_s > 1.7e9
    assert (read[plain].user, read[plain].partition, read[plain].exclusive) == ("root", "gpu", False)
    assert (read[odd].name, read[odd].comment) == ("name with | and\nJobId=1 JobName=plain", FORGED)
    assert (read[odd].user, read[odd].gpus) == ("alice", 3)
    assert (read[whole].exclusive, read[whole].requeueable, read[whole].time_limit_s) == (True, False, 93780.0)
    assert (read[wide].node_count, len(read[wide].nodes), read[wide].gpus) == (2, 2, 2)
    assert (read[task].state, read[task].reason, read[task].gpus) == (State.PENDING, "Licenses", 2)
    rest = (
        read[f"{array}_[15,22,29,36,43,50]"] if f"{array}_[15,22,29,36,43,50]" in read else read[f"{array}_[15-50:7]"]
    )
    assert (rest.tasks, rest.array_job_id, rest.gpus, rest.number) == (6, array, 1, int(array))
    assert (read[f"{array}_8"].array_job_id, read[f"{array}_8"].gpus) == (array, 1)
    assert read[f"{array}_8"].number not in (rest.number, read[f"{array}_1"].number)
    assert (read[held].held, read[held].gpus, math.isnan(read[held].start_s)) == (Held.USER, 4, True)
    assert [read[f"{pair}+{part}"].het_job_id for part in (0, 1)] == [pair, pair]
    assert [read[f"{pair}+{part}"].gpus for part in (0, 1)] == [1, 0]


async def test_a_node_that_is_drained_or_down_says_so(site: Cluster, backend: CliBackend) -> None:
    site.run("scontrol", "update", "NodeName=n4", "State=DRAIN", "Reason=State=IDLE Gres=gpu:9")
    nodes = await backend.nodes()
    site.run("scontrol", "update", "NodeName=n4", "State=RESUME")
    assert isinstance(nodes, tuple), nodes
    read: dict[str, SlurmNode] = {node.name: node for node in nodes}
    assert [(n.gpus, n.gpu_type, n.partitions) for n in nodes] == [(8, "h100", ("gpu",))] * 4
    assert (read["n4"].drained, read["n4"].reason, read["n4"].down) == (True, "State=IDLE Gres=gpu:9", False)
    assert (read["n1"].drained, read["n1"].powered_down) == (False, False)


async def test_the_settings_are_read(backend: CliBackend, installation: Installation) -> None:
    config = await backend.config()
    assert isinstance(config, Config), config
    assert (config.version, config.slurm_user) == (installation.version, "root")
    assert config.licences == {"power": 10000, "fluent": 20}
    assert len(config.controllers) == 1
    assert "bf_licenses" in config.said["SchedulerParameters"]


async def test_licences_of_waiting_running_and_array_jobs_change_and_the_others_stay(
    calm: Cluster, backend: CliBackend
) -> None:
    running = calm.submit(SLEEP, "-Lpower:4000,fluent:2")
    bare = calm.submit(SLEEP)
    waiting = calm.submit(SLEEP, "-H", "-Lfluent:3,power:700")
    array = calm.submit(SLEEP, "-H", "--array=1-9", "-Lpower:100")
    await job_in(backend, running, State.RUNNING)
    await job_in(backend, bare, State.RUNNING)
    for job, licences in ((running, 900), (bare, 800), (waiting, 0), (f"{array}_[1-9]", 50)):
        assert await backend.set_licences(job, {"power": licences}) is None
    read = await jobs(backend)
    assert read[running].licences == {"power": 900, "fluent": 2}
    assert read[bare].licences == {"power": 800}
    assert read[waiting].licences == {"fluent": 3}
    assert read[f"{array}_[1-9]"].licences == {"power": 50}
    assert await backend.set_licences(f"{array}_4", {"power": 60}) is None
    assert calm.job(f"{array}_4")["Licenses"] == "power:60"
    assert [job.tasks for job in (await jobs(backend)).values() if job.stands_for(f"{array}_4")] == [9]
    changed = await backend.set_licences(running, {"power": 600}, {"power": 700})
    assert changed is not None
    assert (changed.why, "'power': 900" in changed.text) == (Why.CHANGED, True)
    assert await backend.set_licences(running, {"power": 900}, {"power": 700}) is None  # it has them already
    assert (await jobs(backend))[running].licences == {"power": 900, "fluent": 2}
    assert await backend.set_licences(running, {"power": 0, "fluent": 0}, {"power": 900}) is None
    assert (await jobs(backend))[running].licences == {}


async def test_a_suspended_job_keeps_its_licences_and_slurm_says_why(calm: Cluster, backend: CliBackend) -> None:
    job = calm.submit(SLEEP, "-Lpower:4000", "--gres=gpu:1")
    began_s = (await job_in(backend, job, State.RUNNING)).since_s
    assert await backend.set_licences(job, {"power": 1}) is None
    await asyncio.sleep(1.1)
    assert await backend.suspend(job) is None
    suspended = await job_in(backend, job, State.SUSPENDED)
    assert suspended.since_s > began_s
    assert (suspended.gpus, suspended.licences) == (1, {"power": 1})
    refused = await backend.set_licences(job, {"power": 4000})
    assert refused is not None
    assert (refused.why, "pending nor running" in refused.text) == (Why.REFUSED, True)
    assert await backend.resume(job) is None
    resumed = await job_in(backend, job, State.RUNNING)
    assert resumed.since_s >= suspended.since_s
    assert await backend.set_licences(job, {"power": 4000}) is None
    again = await backend.resume(job)
    assert again is not None
    assert again.why is Why.REFUSED


async def test_a_heterogeneous_job_stops_and_goes_as_a_whole(calm: Cluster, backend: CliBackend) -> None:
    pair = calm.submit(SLEEP, "-Lpower:10", ":", "-n1")
    await job_in(backend, f"{pair}+1", State.RUNNING)
    assert await backend.set_licences(f"{pair}+0", {"power": 20}) is None
    assert (await jobs(backend))[f"{pair}+0"].licences == {"power": 20}
    assert await backend.suspend(f"{pair}+1") is None
    await job_in(backend, f"{pair}+0", State.SUSPENDED)
    assert await backend.resume(f"{pair}+1") is None
    await job_in(backend, f"{pair}+1", State.RUNNING)


async def test_a_requeued_job_runs_again_and_is_known_to_have(calm: Cluster, backend: CliBackend) -> None:
    job = calm.submit(SLEEP, "--requeue", "-Lpower:100")
    never = calm.submit(SLEEP, "--no-requeue")
    await job_in(backend, job, State.RUNNING)
    await job_in(backend, never, State.RUNNING)
    assert await backend.set_licences(job, {"power": 70}) is None
    assert await backend.requeue(job) is None
    again = await job_in(backend, job, State.PENDING)
    assert (again.restarts, again.licences) == (1, {"power": 70})
    assert await backend.hold(job) is None
    assert (await jobs(backend))[job].held is Held.ADMIN
    assert await backend.release(job) is None
    assert (await jobs(backend))[job].held is Held.NOBODY
    refused = await backend.requeue(never)
    assert refused is not None
    assert refused.why is Why.REFUSED


async def test_a_signal_reaches_the_script_alone_or_all(calm: Cluster, backend: CliBackend) -> None:
    script = "trap 'touch /srv/heard' USR1; touch /srv/listens; while :; do sleep 0.1; done"
    job = calm.submit(script, "--chdir=/srv")
    await job_in(backend, job, State.RUNNING)
    await _is_there(calm.room.inside("/srv/listens"))  # a signal before the trap would end the script
    assert await backend.signal(job, "SIGUSR1") is None
    await _is_there(calm.room.inside("/srv/heard"))
    assert await backend.signal(job, "TERM", batch_only=False) is None


async def _is_there(file: Path) -> None:
    async with asyncio.timeout(30.0):
        while not file.exists():
            await asyncio.sleep(0.1)


async def test_a_job_is_shrunk_and_nothing_is_left_lying_about(calm: Cluster, backend: CliBackend) -> None:
    job = calm.submit(SLEEP, "-N3", "--gpus-per-node=2", "-Lpower:100")
    assert (await job_in(backend, job, State.RUNNING)).gpus == 6
    assert await backend.shrink(job, 1) is None
    shrunk = (await jobs(backend))[job]
    assert (shrunk.node_count, shrunk.gpus, tuple(shrunk.gpu_indices)) == (1, 2, shrunk.nodes)
    assert not list(Path("/").glob("slurm_job_*_resize.*"))


async def test_comments_come_back_and_priorities_move(calm: Cluster, backend: CliBackend) -> None:
    job = calm.submit(SLEEP, "-H")
    said = 'held: job 4711\'s "5.6 kW" | 2.1 kW left = rack r2; é'
    assert await backend.set_admin_comment(job, f"  {said}\n") is None
    assert calm.job(job)["AdminComment"].startswith("held: job 4711's")
    assert (await jobs(backend))[job].admin_comment == said
    assert await backend.set_admin_comment(job, "full speed") is None
    assert (await jobs(backend))[job].admin_comment == "full speed"
    assert await backend.set_admin_comment(job, "") is None
    assert (await jobs(backend))[job].admin_comment == ""
    calm.submit(SLEEP, "-Lpower:9000")
    waiting = calm.submit(SLEEP, "-Lpower:9000")
    before = (await jobs(backend))[waiting].priority
    assert await backend.set_site_factor(waiting, 4000) is None
    assert (await jobs(backend))[waiting].priority - before > 3900


async def test_a_node_is_told_something(backend: CliBackend, site: Cluster) -> None:
    assert await backend.set_node_extra("n1", '{"headroom": 1200}') is None
    nodes = await backend.nodes()
    assert isinstance(nodes, tuple)
    assert nodes[0].extra == '{"headroom": 1200}'


async def test_held_watts_keep_jobs_waiting_and_follow_the_limit(calm: Cluster, backend: CliBackend) -> None:
    running = calm.submit(SLEEP, "-Lpower:9000")
    await job_in(backend, running, State.RUNNING)
    assert await backend.hold_watts("hold", "power", 6000) is None  # more than is free: nothing that runs is touched
    waiting = calm.submit(SLEEP, "-Lpower:500")
    await asyncio.sleep(3)
    assert (await jobs(backend))[waiting].state is State.PENDING
    assert (await jobs(backend))[running].state is State.RUNNING
    assert await backend.hold_watts("hold", "power", 0) is None
    hold = (await holds(backend))["hold"]
    assert (hold.licences, hold.active) == ({"power": 1}, True)
    assert hold.end_s - hold.start_s > 300 * 86400
    await job_in(backend, waiting, State.RUNNING)
    refused = await backend.hold_watts("hold", "power", 10001)
    assert refused is not None
    assert (refused.why, "license" in refused.text) == (Why.REFUSED, True)
    assert await backend.drop_reservation("hold") is None
    assert await backend.drop_reservation("hold") is None
    assert await holds(backend) == {}


async def test_announced_watts_move_with_their_event_until_it_has_begun(calm: Cluster, backend: CliBackend) -> None:
    soon_s = time.time() + 600
    assert await backend.hold_watts("event", "power", 7000, soon_s, 1800) is None
    assert await backend.hold_watts("event", "power", 6000, soon_s + 300, 900) is None
    event = (await holds(backend))["event"]
    assert (event.licences, event.active) == ({"power": 6000}, False)
    assert abs(event.start_s - soon_s - 300) <= 1
    assert abs(event.end_s - event.start_s - 900) <= 1
    now_s = time.time() + 1.5
    assert await backend.hold_watts("now", "power", 100, now_s, 600) is None
    await asyncio.sleep(2.5)
    assert await backend.hold_watts("now", "power", 50, now_s, 1200) is None
    begun = (await holds(backend))["now"]
    assert (begun.licences, begun.active) == ({"power": 50}, True)
    assert abs(begun.end_s - now_s - 1200) <= 1


async def test_what_is_not_there_is_unknown_to_every_act(backend: CliBackend) -> None:
    acts: list[Awaitable[Trouble | None]] = [
        backend.set_licences("999999", {"power": 1}), backend.set_site_factor("999999", 1),
        backend.set_admin_comment("999999", "x"), backend.suspend("999999"), backend.resume("999999"),
        backend.signal("999999", "USR1"), backend.requeue("999999"), backend.hold("999999"),
        backend.release("999999"), backend.shrink("999999", 1), backend.suspend("999999_[1-3]"),
    ]  # fmt: skip
    for said in await asyncio.gather(*acts):
        assert said is not None
        assert said.why is Why.UNKNOWN, said
    assert await backend.set_node_extra("nowhere", "x") is not None


async def test_what_a_user_may_not_do_slurm_says_in_words_that_we_know(calm: Cluster, backend: CliBackend) -> None:
    job = calm.submit(SLEEP, "-Lpower:100")
    await job_in(backend, job, State.RUNNING)
    for argv in (("suspend", job), ("update", f"JobId={job}", "Licenses=power:1"), ("requeue", job)):
        with pytest.raises(CommandFailed) as failed:
            calm.run("scontrol", *argv, user="bob")
        assert why(failed.value.said) is Why.NOT_PERMITTED


@pytest.mark.parametrize("text", ["n[1-3,7],login", "gpu[08-11]", "r[1-2]n[01-02]", "n[98-101]", "n[2,1]", "a,a"])
def test_lists_of_nodes_are_read_as_slurm_reads_them(site: Cluster, text: str) -> None:
    assert list(nodes_of(text)) == site.run("scontrol", "show", "hostnames", text).split()


async def test_a_slurm_that_does_not_answer_is_trouble_within_the_patience(new_cluster: Callable[..., Cluster]) -> None:
    own = new_cluster("own", nodes=("n1",))
    backend = CliBackend(Commands(own.bin, patience_s=3.0))

    async def unanswered() -> None:
        begun_s = time.monotonic()
        said = await asyncio.gather(backend.queue(), backend.suspend("1"), backend.hold_watts("hold", "power", 5))
        assert time.monotonic() - begun_s < STALL_S / 2
        assert [trouble.why for trouble in said if isinstance(trouble, Trouble)] == [Why.UNANSWERED] * 3, said

    with own.stalled("squeue", STALL_S), own.stalled("scontrol", STALL_S):
        await unanswered()
    own.pause_slurmctld()
    await unanswered()
    own.resume_slurmctld()
    own.kill_munged()
    await unanswered()
    own.start_munged()
    own.kill_slurmctld()
    await unanswered()
    own.start_slurmctld()
    assert isinstance(await backend.queue(), Queue)


async def test_two_thousand_jobs_are_read_in_a_fraction_of_a_second(
    new_cluster: Callable[..., Cluster], installation: Installation
) -> None:
    own = new_cluster("own", nodes=("n1",))
    submit = "sbatch -Q -H -Jtrain-$i --comment=wattlease:pausable -Lpower:700 --gpus=2 --wrap=true"
    many = f"for i in $(seq 500); do {submit}; done"
    own.run("bash", "-c", f"for part in 1 2 3 4; do ({many}) & done; wait", timeout_s=90)
    backend = CliBackend(Commands(own.bin))
    spans_s = []
    for _ in range(4):
        begun_s = time.perf_counter()
        assert len(await jobs(backend)) == 2000
        spans_s.append(time.perf_counter() - begun_s)
    begun_s = time.perf_counter()
    assert await backend.set_licences("7", {"power": 600}) is None
    set_s = time.perf_counter() - begun_s
    print(
        f"Slurm {installation.version}, 2,000 jobs: first queue() {spans_s[0] * 1000:.0f} ms, later ones "
        f"{min(spans_s[1:]) * 1000:.0f} ms, set_licences {set_s * 1000:.0f} ms"
    )
    assert min(spans_s[1:]) < 0.5
    assert set_s < 0.5
