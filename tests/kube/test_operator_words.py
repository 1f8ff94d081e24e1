"""What is read from bodies: whole ones, and those of which anything may be missing or of another shape."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "bodies"))  # bodies are shared with the other tests of the operator

from kube_bodies import T0_S, check, flat, hpa, job, node, pod, shaped, workload

from wattlease_operator import bodies, words
from wattlease_operator.kinds import CHECKS, HPAS, JOBS, KIND, KINDS, NODES, PODS, SCALED_OBJECTS, WORKLOADS
from wattlease_operator.reading import moment_s, moment_text, quantity

JUNK = st.sampled_from([None, "", "x", -1, 3.5, True, [], {}, [None], [[]], {"name": 4}, "2026-13-01", "9" * 40])

BODIES: list[dict[str, Any]] = [
    pod("p", node="n1", gates=("wattlease.io/power",), owner=("Job", "j")),
    job("j"),
    workload("w", ("Job", "j")),
    check(),
    hpa("h", 5),
    node("n1", "node.kubernetes.io/out-of-service"),
]


def read_all(body: Any) -> None:
    bodies.pod_of(PODS, body)
    for kind in KINDS:
        bodies.work_of(kind, body)
    bodies.queue_workload_of(WORKLOADS, body)
    bodies.check_of(CHECKS, body)
    for resource in (HPAS, SCALED_OBJECTS):
        bodies.scaler_of(resource, body)
    bodies.node_of(NODES, body)


@settings(max_examples=100)
@given(st.data())
def test_a_body_of_which_anything_is_missing_or_mangled_is_still_a_value(data: st.DataObject) -> None:
    leaves = dict(flat(data.draw(st.sampled_from(BODIES))))
    for path in data.draw(st.lists(st.sampled_from(sorted(leaves)), max_size=6)):
        cut = path[: data.draw(st.integers(1, len(path)))]
        if any(cut[: len(p)] == p for p in leaves if p != path):  # it hangs on what was mangled before
            continue
        leaves = {p: v for p, v in leaves.items() if p[: len(cut)] != cut}
        if data.draw(st.booleans()):
            leaves[cut] = data.draw(JUNK)
    read_all(shaped(leaves))


@settings(max_examples=50)
@given(st.recursive(JUNK, lambda below: st.lists(below) | st.dictionaries(st.text(max_size=4), below), max_leaves=8))
def test_nothing_that_could_be_a_body_is_a_traceback(body: Any) -> None:
    read_all(body)


@given(st.integers(0, 4_000_000_000))
def test_a_time_reads_as_it_was_written(unix_s: int) -> None:
    assert moment_s(moment_text(unix_s)) == unix_s


@pytest.mark.parametrize(
    ("written", "is_"), [("8", 8), (8, 8), ("1k", 1000), ("2Ki", 2048), ("500m", 0.5), ("-1", 0), ("x", 0), (True, 0)]
)
def test_a_quantity_is_read_in_every_form_that_the_api_server_writes(written: object, is_: float) -> None:
    assert quantity(written) == is_


def test_a_pod_holds_its_containers_cards_or_its_largest_init_containers() -> None:
    body = pod("p", 3)
    body["spec"]["containers"].append({"resources": {"requests": {"nvidia.com/mig-1g.10gb": 2}}})
    body["spec"]["initContainers"] = [{"resources": {"limits": {"nvidia.com/gpu": "8"}}}]
    assert bodies.pod_of(PODS, body).gpus == 8
    del body["spec"]["initContainers"]
    assert bodies.pod_of(PODS, body).gpus == 5


def test_cards_may_be_called_otherwise() -> None:
    body = job("j", 4)
    other = words.Cards(resource="example.com/card", product_label="example.com/model", slices="example.com/part-")
    assert bodies.work_of(KIND["Job"], body, other).gpus == 0
    body["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] = {"example.com/card": "2"}
    body["spec"]["template"]["spec"]["nodeSelector"] = {"example.com/model": "H100"}
    found = bodies.work_of(KIND["Job"], body, other)
    assert (found.gpus, found.product) == (2, "H100")


def test_a_pod_that_terminates_holds_its_cards_until_it_is_gone() -> None:
    assert bodies.pod_of(PODS, pod("p", node="n1", phase="Running", leaves=True)).placed
    assert bodies.pod_of(PODS, pod("p", node="n1", phase="Failed", leaves=True)).placed
    assert not bodies.pod_of(PODS, pod("p", node="n1", phase="Succeeded")).placed
    assert not bodies.pod_of(PODS, pod("p", phase="Pending")).placed


def test_a_node_is_off_only_where_that_is_said_and_it_does_not_answer() -> None:
    off = "node.cloudprovider.kubernetes.io/shutdown"
    assert bodies.node_of(NODES, node("n", off, ready=False)).off
    assert not bodies.node_of(NODES, node("n", off)).off
    assert not bodies.node_of(NODES, node("n", "node.kubernetes.io/unreachable", ready=False)).off
    assert not bodies.node_of(NODES, node("n", "node.kubernetes.io/unschedulable", ready=False)).off


def test_only_what_our_annotation_says_and_the_switch_confirms_was_paused_by_us() -> None:
    def made(suspend: bool, **marks: str) -> words.Work:
        told = {f"wattlease.io/{k.replace('_', '-')}": v for k, v in marks.items()}
        return bodies.work_of(KIND["Job"], job("j", suspend=suspend, annotations=told))

    assert made(True, paused_by="wattlease").paused_by_us
    assert not made(True).paused_by_us
    assert not made(True, paused_by="someone").paused_by_us
    assert made(False, paused_by="wattlease").resumed_by_others
    assert made(True, held_by="wattlease").held_by_us
    assert not made(True, held_by="wattlease", released_at="2026-11-21T10:00:00Z").held_by_us


def test_times_of_checkpoints_are_read_from_annotations_and_bounded() -> None:
    marks = {words.CHECKPOINT_S: "120", words.CHECKPOINT_ASKED: "2026-11-21T10:00:00Z"}
    assert words.save_s(marks) == 120.0
    assert words.asked_s(marks) == T0_S
    assert math.isnan(words.saved_s(marks))
    assert words.save_s({words.CHECKPOINT_S: "99999999"}) == words.LONGEST_SAVE_S
    assert bodies.work_of(KIND["Job"], job("j")).ref.resource == JOBS
