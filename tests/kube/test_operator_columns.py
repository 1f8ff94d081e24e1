"""Which of the cluster's jobs watts concern, where they stand, what they agreed to, and on which cards they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "bodies"))  # bodies are shared with the other tests of the operator

from kube_bodies import T0_S, check, cluster, hpa, job, pod, workload

from wattlease.core.api import PowerBudget, PowerProfile
from wattlease.core.model import NONE, JobState, Site
from wattlease.runtime.lease.report import CardReport, Share
from wattlease.runtime.site import site_of
from wattlease.runtime.site_words import Group
from wattlease_operator.agreements import Agreements, profile_of
from wattlease_operator.columns import Columns, state_of
from wattlease_operator.gathering import Gathering, KubeJob

OURS = "wattlease.io/"


class Nobody:
    """Knows of nothing that was agreed or done."""

    def terms(self, job: KubeJob) -> int:
        return 0

    def saved_age_s(self, job: KubeJob) -> float:
        return 60.0

    def batch_frac(self, job: KubeJob) -> float:
        return 1.0

    def variant(self, job: KubeJob) -> int:
        return NONE


@pytest.fixture(scope="module")
def site() -> Site:
    def group(name: str, model: str, nodes: tuple[str, ...]) -> Group:
        written = {"name": name, "cluster": "c1", "budget": "hall", "nodes": len(nodes), "nodeNames": nodes}
        return Group.model_validate(written | {"gpusPerNode": 4, "gpuModel": model, "nodeNameplateWatts": 6000})

    budget = PowerBudget.model_validate({"metadata": {"name": "hall"}, "spec": {"limitWatts": 20_000}})
    return site_of("hall", (group("a", "H100", ("n1", "n2")), group("b", "A100", ("n3",))), (budget,), ())


def card(name: str) -> CardReport:
    return CardReport(
        uuid="GPU-0", index=0, model="H100", age_s=0.1, power_w=500.0, energy_j=None, limit_w=700.0, min_w=200.0,
        max_w=700.0, shares=(Share(job=name, share_frac=1.0),),
    )  # fmt: skip


def only(**objects: list[Any]) -> KubeJob:
    [found] = Gathering(cluster(**objects)).jobs().values()
    return found


def marked(suspend: bool, **marks: str) -> dict[str, Any]:
    return job("a", suspend=suspend, annotations={f"{OURS}{k.replace('_', '-')}": v for k, v in marks.items()})


STANDS = [
    (marked(True), None),
    (marked(True, held_by="wattlease"), JobState.HELD),
    (marked(True, held_by="wattlease", released_at="2026-11-21T10:00:00Z"), None),
    (marked(True, paused_by="wattlease"), JobState.PAUSED),
    (marked(False), JobState.RELEASED),
    (marked(False) | {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}, None),
]


@pytest.mark.parametrize(("body", "state"), STANDS)
def test_a_job_without_pods_stands_as_its_switch_and_our_marks_say(body: Any, state: JobState | None) -> None:
    assert state_of(only(jobs=[body])) == state


def test_a_suspended_job_whose_pods_still_terminate_runs_until_the_last_is_gone() -> None:
    leaving = pod("a-1", owner=("Job", "a"), node="n1", phase="Running", leaves=True)
    assert state_of(only(jobs=[marked(True, paused_by="wattlease")], pods=[leaving])) == JobState.RUNNING


def test_gates_of_ours_hold_a_pod_and_those_of_others_are_their_affair() -> None:
    assert state_of(only(pods=[pod("p", gates=(f"{OURS}power",))])) == JobState.HELD
    assert state_of(only(pods=[pod("p", gates=("example.com/quota",))])) is None
    assert state_of(only(pods=[pod("p")])) == JobState.RELEASED
    assert state_of(only(pods=[pod("p", gpus=0)])) is None


@pytest.mark.parametrize(
    ("state", "reserved", "admitted", "marks", "stands"),
    [
        ("Pending", True, False, {}, JobState.HELD),
        ("Pending", False, False, {}, None),
        ("Ready", True, False, {}, JobState.RELEASED),
        ("Ready", True, True, {}, JobState.RELEASED),
        ("Pending", True, False, {f"{OURS}paused-by": "wattlease"}, JobState.PAUSED),
        ("Retry", True, False, {f"{OURS}paused-by": "wattlease"}, JobState.PAUSED),
        ("Retry", True, False, {}, None),
    ],
)
def test_a_job_of_kueue_stands_as_our_check_says(
    state: str, reserved: bool, admitted: bool, marks: dict[str, str], stands: JobState | None
) -> None:
    waits = workload("w", ("Job", "a"), state=state, reserved=reserved, admitted=admitted, annotations=marks)
    found = only(jobs=[job("a", suspend=True)], workloads=[waits], admissionchecks=[check()])
    assert state_of(found) == stands


def place(site: Site, cards: list[CardReport | None], power_w: Any = None, **objects: list[Any]) -> Any:
    jobs = list(Gathering(cluster(**objects)).jobs().values())
    watts = np.zeros(len(cards)) if power_w is None else np.array(power_w, float)
    return Columns(site, "c1").place(jobs, cards, watts, Nobody())


def test_cards_go_to_the_job_whose_pods_the_agents_name(site: Site) -> None:
    cards: list[CardReport | None] = [None] * 12
    cards[5], cards[7] = card("ml/a-1"), card("ml/a-1")
    jobs, of = place(site, cards, jobs=[job("a")], pods=[pod("a-1", 2, owner=("Job", "a"), node="n2", phase="Running")])
    assert np.flatnonzero(of == 0).tolist() == [5, 7]
    assert (jobs.id, jobs.owner, jobs.gpus.tolist()) == (("ml/a",), ("ml",), [2])


def test_cards_of_a_pod_that_no_agent_names_are_the_busiest_free_ones_of_its_node(site: Site) -> None:
    cards: list[CardReport | None] = [None] * 12
    cards[8] = card("ml/other")
    watts = [0.0] * 8 + [900.0, 50.0, 400.0, 300.0]
    _, of = place(site, cards, watts, pods=[pod("p", 2, node="n3", phase="Running")])
    assert np.flatnonzero(of == 0).tolist() == [10, 11]


def test_jobs_stand_in_the_schedulers_order(site: Site) -> None:
    bodies = [
        pod("late", creationTimestamp="2026-11-21T11:00:00Z"),
        pod("early"),
        pod("urgent", creationTimestamp="2026-11-21T12:00:00Z", priority=1000),
    ]
    jobs, _ = place(site, [None] * 12, pods=bodies)
    assert jobs.id == ("pod/ml/urgent", "pod/ml/early", "pod/ml/late")
    assert jobs.submitted_s[1] == T0_S


def test_a_waiting_job_knows_its_card_by_its_node_selector(site: Site) -> None:
    body = job("a", suspend=True, annotations={f"{OURS}held-by": "wattlease"})
    body["spec"]["template"]["spec"]["nodeSelector"] = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    jobs, _ = place(site, [None] * 12, jobs=[body])
    assert site.models[int(jobs.model[0])].name == "A100"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["n1", "n2", "n3", ""]), st.booleans()), max_size=8))
def test_no_card_has_two_jobs_and_no_job_more_cards_than_it_holds(site: Site, made: list[Any]) -> None:
    pods = [
        pod(f"p{i}", gpus, node=node, phase="Running" if node else "Pending", leaves=leaves)
        for i, (gpus, node, leaves) in enumerate(made)
    ]
    jobs, of = place(site, [None] * 12, pods=pods)
    held = np.bincount(of[of != NONE], minlength=len(jobs.id))
    assert np.all(held <= jobs.gpus)
    assert len(of) == 12


def profile(name: str, namespace: str | None = "ml", **spec: Any) -> PowerProfile:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return PowerProfile.model_validate({"metadata": meta, "spec": spec})


def test_the_most_specific_profile_holds_and_names_break_ties() -> None:
    found = only(jobs=[job("train-1", labels={"team": "a", "tier": "x"})])
    by_label, by_two = {"matchLabels": {"team": "a"}}, {"matchLabels": {"team": "a", "tier": "x"}}
    every = [
        profile("z-any", selector={"names": ["train-*"]}),
        profile("all", None, selector={"names": ["train-1"]}),
        profile("label-b", selector=by_label),
        profile("label-a", selector=by_label),
        profile("two", selector=by_two),
        profile("elsewhere", "other", selector=by_two),
        profile("empty"),
    ]

    def holds(*left_out: str) -> str:
        left = [p for p in every if p.name not in left_out]
        best = profile_of(found, left)
        assert best is profile_of(found, left[::-1])
        return best.name if best else ""

    assert holds() == "all"
    assert holds("all") == "two"
    assert holds("all", "two") == "label-a"
    assert holds("all", "two", "label-a", "label-b") == "z-any"
    assert holds("all", "two", "label-a", "label-b", "z-any") == ""


def test_a_job_may_name_a_profile_of_its_own_namespace() -> None:
    found = only(jobs=[job("a", annotations={f"{OURS}profile": "gentle"})])
    named, other = profile("gentle"), profile("gentle", "other")
    assert profile_of(found, [other, profile("z", selector={"names": ["*"]}), named]) is named
    assert profile_of(found, [other]) is None


def test_what_nothing_can_pause_is_not_offered_to_be_paused() -> None:
    agreements = Agreements()
    assert agreements.of(only(jobs=[job("a")])).pausable
    assert not agreements.of(only(pods=[pod("p", node="n1", phase="Running")])).pausable
    assert not agreements.of(only(jobs=[marked(False, paused_by="wattlease")])).pausable
    queued = only(jobs=[job("a")], workloads=[workload("w", ("Job", "a"))], admissionchecks=[check()])
    assert agreements.of(queued).pausable


def test_a_service_whose_autoscaler_has_replicas_to_spare_offers_fewer() -> None:
    pods = [
        pod(
            f"chat-{i}",
            owner=("ReplicaSet", "chat-abc"),
            labels={"pod-template-hash": "abc"},
            node="n1",
            phase="Running",
        )
        for i in range(4)
    ]
    found = only(pods=pods, horizontalpodautoscalers=[hpa("h", 9, least=2)])
    [step] = Agreements().of(found).steps
    assert (step.batch_frac, step.draw_frac) == (0.5, 0.5)
