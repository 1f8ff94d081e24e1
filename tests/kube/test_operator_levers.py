"""The levers as laws: what was written is not written again, and nothing of others is written or resumed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "bodies"))  # bodies are shared with the other tests of the operator

from kube_bodies import T0_S, Server, check, cluster, flat, hpa, job, meta, pod, workload

from wattlease.core.model import JobState
from wattlease_operator.bodies import check_of, scaler_of
from wattlease_operator.gathering import Gathering, KubeJob
from wattlease_operator.kinds import CHECKS, HPAS, KINDS, SCALED_OBJECTS
from wattlease_operator.kueue import activate
from wattlease_operator.ordering import lever
from wattlease_operator.scaling import bound, ceilings
from wattlease_operator.suspend import left_alone, recalled
from wattlease_operator.words import GATE, Scaler
from wattlease_operator.writes import Apply, Disown, Steps, Write, disowning, nested

OURS = "wattlease.io/"
SAVES = {f"{OURS}checkpoint-seconds": "60"}
WANTED = st.sampled_from(list(JobState))


def paths(write: Write) -> list[tuple[str, ...]]:
    return [path for path, _ in flat(write.fields)] if isinstance(write, Apply) else []


def seen(plural: str, server: Server, **more: list[Any]) -> KubeJob:
    [found] = Gathering(cluster(**{plural: [server.body()]}, **more)).jobs().values()
    return found


def turned(kind: Any, server: Server) -> bool:
    return server.leaves.get(kind.suspend) is True


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    steps=st.lists(st.tuples(WANTED, st.sampled_from(["", "suspend", "resume"]), st.integers(0, 100)), max_size=8),
    saves=st.booleans(),
)
def test_a_switch_is_turned_once_and_never_back_for_others(kind: Any, steps: list[Any], saves: bool) -> None:
    body = {"metadata": meta("x", **({"annotations": SAVES} if saves else {})), "spec": {"kept": 1}}
    server, now_s, theirs = Server(body), T0_S, False
    for wanted, person, later_s in steps:
        if person and turned(kind, server) != (person == "suspend"):
            server.update(kind.suspend, person == "suspend")
            theirs = person == "suspend"
        found = seen(kind.resource.plural, server)
        running = KubeJob(found.top, found.work, gpus=8, annotations=found.annotations)
        for write in left_alone(running) or lever(running, wanted, now_s):
            assert isinstance(write, Apply)
            own = {("metadata", "annotations")}
            assert all((path[:2] in own and path[2].startswith(OURS)) or path == kind.suspend for path in paths(write))
            server.write(write)
        if theirs:
            assert turned(kind, server)  # a person's suspension stands whatever is wanted
        again = seen(kind.resource.plural, server)
        assert not left_alone(again)
        assert not lever(KubeJob(again.top, again.work, gpus=8, annotations=again.annotations), wanted, now_s)
        assert server.leaves["spec", "kept"] == 1
        now_s += later_s


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_was_paused_and_resumed_is_as_it_was_before(kind: Any) -> None:
    body = {"metadata": meta("x"), "spec": {"runPolicy": {"ttl": 4}, "kept": 1}}
    server = Server(body)
    for wanted in (JobState.PAUSED, JobState.RUNNING):
        [write] = lever(seen(kind.resource.plural, server, pods=[]), wanted, T0_S)
        server.write(write)
        assert turned(kind, server) == (wanted == JobState.PAUSED)
    assert server.body() == body


def test_a_job_that_can_save_itself_is_asked_first_and_given_the_time_that_it_takes() -> None:
    server = Server(job("a", annotations=SAVES))

    def next_write(at_s: float) -> tuple[Write, ...]:
        return lever(seen("jobs", server), JobState.PAUSED, at_s)

    [asked] = next_write(T0_S)
    assert ("spec", "suspend") not in paths(asked)
    server.write(asked)
    assert not next_write(T0_S + 59)
    [paused] = next_write(T0_S + 60)
    server.write(paused)
    assert seen("jobs", server).work is not None
    assert server.leaves["spec", "suspend"] is True


def test_a_job_that_says_it_has_saved_itself_is_paused_at_once() -> None:
    server = Server(job("a", annotations=SAVES))
    server.write(lever(seen("jobs", server), JobState.PAUSED, T0_S)[0])
    server.update(("metadata", "annotations", f"{OURS}checkpointed-at"), "2026-11-21T10:00:05Z")
    assert len(lever(seen("jobs", server), JobState.PAUSED, T0_S + 6)) == 1


def test_a_checkpoint_that_is_no_longer_needed_is_no_longer_asked_for() -> None:
    server = Server(job("a", annotations=SAVES))
    before = server.body()
    server.write(lever(seen("jobs", server), JobState.PAUSED, T0_S)[0])
    [write] = recalled(seen("jobs", server))
    server.write(write)
    assert server.body() == before
    assert not recalled(seen("jobs", server))


def test_a_job_that_a_person_resumed_is_left_alone_for_good() -> None:
    server = Server(job("a"))
    server.write(lever(seen("jobs", server), JobState.PAUSED, T0_S)[0])
    server.update(("spec", "suspend"), False)
    assert not lever(seen("jobs", server), JobState.PAUSED, T0_S)
    server.write(left_alone(seen("jobs", server))[0])
    server.update(("spec", "suspend"), True)
    assert not lever(seen("jobs", server), JobState.RUNNING, T0_S)
    assert server.leaves["spec", "suspend"] is True


def test_a_job_made_to_wait_for_watts_is_let_go_once_and_can_be_held_again_before_it_starts() -> None:
    server = Server(job("a", suspend=True, annotations={f"{OURS}held-by": "wattlease"}))
    for wanted, suspended in ((JobState.RELEASED, False), (JobState.HELD, True), (JobState.RELEASED, False)):
        [write] = lever(seen("jobs", server), wanted, T0_S)
        server.write(write)
        assert server.leaves["spec", "suspend"] is suspended
        assert not lever(seen("jobs", server), wanted, T0_S)
    [write] = lever(seen("jobs", server), JobState.PAUSED, T0_S)
    server.write(write)
    server.write(lever(seen("jobs", server), JobState.RUNNING, T0_S)[0])
    assert server.leaves["spec", "suspend"] is False
    server.update(("spec", "suspend"), True)
    assert not lever(seen("jobs", server), JobState.RELEASED, T0_S)


def queued(server: Server, **how: Any) -> KubeJob:
    more: dict[str, list[Any]] = {"jobs": [job("a", suspend=True, **how)], "admissionchecks": [check()]}
    return seen("workloads", server, **more)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(WANTED, st.booleans()), max_size=8))
def test_of_a_workload_only_our_check_is_written_and_never_rejected(steps: list[tuple[JobState, bool]]) -> None:
    server = Server(workload("w", ("Job", "a"), checks=("power", "other")))
    ours = ("status", "admissionChecks", "[power]")
    for wanted, evicted in steps:
        if evicted and server.leaves.get((*ours, "state")) == "Retry":
            server.update((*ours, "state"), "Pending", "kueue")
        for write in lever(queued(server), wanted, T0_S):
            assert isinstance(write, Apply)
            assert all(
                path[:3] == ours if write.subresource else path[2] == f"{OURS}paused-by" for path in paths(write)
            )
            server.write(write)
        assert not lever(queued(server), wanted, T0_S)
        assert server.leaves[(*ours, "state")] in ("Pending", "Ready", "Retry")
        assert server.leaves["status", "admissionChecks", "[other]", "state"] == "Pending"
        if server.leaves[(*ours, "state")] == "Retry":
            assert server.leaves[(*ours, "requeueAfterSeconds")] > 0


def test_a_workload_is_admitted_and_paused_and_comes_back_when_it_is_its_turn() -> None:
    server, ours = Server(workload("w", ("Job", "a"))), ("status", "admissionChecks", "[power]", "state")

    def bring(wanted: JobState) -> Any:
        for write in lever(queued(server), wanted, T0_S):
            server.write(write)
        return server.leaves[ours]

    assert bring(JobState.RELEASED) == "Ready"
    assert bring(JobState.PAUSED) == "Retry"
    assert queued(server).queue.paused_by_us  # type: ignore[union-attr]
    assert bring(JobState.RUNNING) == "Retry"  # Kueue has not taken it back yet
    server.update(ours, "Pending", "kueue")
    assert bring(JobState.RUNNING) == "Ready"
    assert not queued(server).queue.paused_by_us  # type: ignore[union-attr]


def test_a_workload_without_quota_waits_for_kueue_and_not_for_us() -> None:
    server = Server(workload("w", ("Job", "a"), reserved=False))
    assert not lever(queued(server), JobState.RELEASED, T0_S)


def test_our_check_is_said_to_be_answered_and_others_are_not_ours() -> None:
    server = Server(check())
    [write] = activate(check_of(CHECKS, server.body()), T0_S)
    server.write(write)
    assert not activate(check_of(CHECKS, server.body()), T0_S)
    assert not activate(check_of(CHECKS, check("slow", "example.com/slow")), T0_S)


@pytest.mark.parametrize("gates", [(GATE,), ("example.com/a", GATE), (GATE, "example.com/b")])
def test_our_gate_falls_and_those_of_others_stay(gates: tuple[str, ...]) -> None:
    server = Server(pod("p", gates=gates))
    assert not lever(seen("pods", server), JobState.HELD, T0_S)
    [write] = lever(seen("pods", server), JobState.RELEASED, T0_S)
    assert isinstance(write, Steps)
    server.write(write)
    [left] = seen("pods", server).alive
    assert left.gates == tuple(g for g in gates if g != GATE)
    assert not lever(seen("pods", server), JobState.RELEASED, T0_S)


def scaler(server: Server) -> Scaler:
    return scaler_of(HPAS, server.body())


@settings(max_examples=30, deadline=None)
@given(
    own=st.integers(1, 30),
    least=st.integers(1, 30),
    most=st.lists(st.one_of(st.integers(0, 40), st.just(float("inf"))), max_size=6),
)
def test_a_ceiling_is_lowered_within_its_owners_bounds_and_given_back_exactly(
    own: int, least: int, most: list[float]
) -> None:
    least = min(least, own)
    server = Server(hpa("h", own, least=least))
    before = server.body()
    for bounded in [*most, float("inf")]:
        for write in bound(scaler(server), bounded):
            allowed = {("spec", "maxReplicas"), ("metadata", "annotations")}
            assert all(path in allowed or (path[:2] in allowed and path[2].startswith(OURS)) for path in paths(write))
            server.write(write)
        assert not bound(scaler(server), bounded)
        assert least <= server.leaves["spec", "maxReplicas"] <= own
        assert server.leaves["spec", "maxReplicas"] <= max(bounded, least)
    assert server.body() == before


def test_a_ceiling_that_someone_else_writes_is_theirs() -> None:
    server = Server(hpa("h", 10))
    server.write(bound(scaler(server), 4)[0])
    server.update(("spec", "maxReplicas"), 20)
    [write] = bound(scaler(server), 4)
    server.write(write)
    assert server.leaves["spec", "maxReplicas"] == 20
    assert scaler(server).before is None


def test_after_giving_a_ceiling_back_it_is_nobodys_by_our_name() -> None:
    server = Server(hpa("h", 10))
    server.write(bound(scaler(server), 4)[0])
    *_, last = bound(scaler(server), float("inf"))
    assert isinstance(last, Disown)
    body = {"metadata": {"managedFields": [{"manager": m} for m in ("wattlease", "kubectl", "wattlease")]}}
    removed = [step["path"] for step in disowning(body) if step["op"] == "remove"]
    assert removed == ["/metadata/managedFields/2", "/metadata/managedFields/0"]
    assert not disowning({"metadata": {}})


def test_keda_scales_out_no_further_and_then_again_unless_its_owner_paused_it() -> None:
    body: Callable[..., dict[str, Any]] = lambda **more: {  # noqa: E731
        "metadata": meta("so", **more), "spec": {"maxReplicaCount": 9, "scaleTargetRef": {"name": "chat"}}
    }  # fmt: skip
    server = Server(body())
    for most, paused in ((3, True), (9, False)):
        for write in bound(scaler_of(SCALED_OBJECTS, server.body()), most):
            server.write(write)
        assert scaler_of(SCALED_OBJECTS, server.body()).scale_out_paused is paused
        assert not bound(scaler_of(SCALED_OBJECTS, server.body()), most)
    assert server.body() == body()
    by_owner = scaler_of(SCALED_OBJECTS, body(annotations={"autoscaling.keda.sh/paused-scale-out": "true"}))
    assert not bound(by_owner, 3)
    assert not bound(by_owner, 9)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.floats(100.0, 6000.0)), max_size=5), st.floats(0, 2e4)
)
def test_services_grow_no_further_than_there_is_room(made: list[Any], room_w: float) -> None:
    services = [(f"s{i}", scaler_of(HPAS, hpa("h", own)), now, each_w) for i, (own, now, each_w) in enumerate(made)]
    found = ceilings(services, room_w)
    grown_w = sum((found[name] - now) * each_w for name, _, now, each_w in services)
    assert grown_w <= room_w + 1e-6
    assert all(found[name] >= now for name, _, now, _ in services)


def test_a_path_and_a_value_make_a_body_with_nothing_else() -> None:
    assert nested(("spec", "runPolicy", "suspend"), True) == {"spec": {"runPolicy": {"suspend": True}}}
