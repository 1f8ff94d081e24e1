"""Which of Slurm's jobs watts concern, and on which cards they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlease.core.api import PowerBudget
from wattlease.core.model import NONE, JobState, Site
from wattlease.runtime.lease.report import CardReport, Share
from wattlease.runtime.site import site_of
from wattlease.runtime.site_words import Group
from wattlease_slurm.columns import WAITS_FOR_US, Columns, whole
from wattlease_slurm.words import Held, SlurmJob, State


@dataclass
class Nobody:
    """Knows of nothing that was done to any job."""

    paused: frozenset[str] = frozenset()
    released: frozenset[str] = frozenset()
    variants: dict[str, int] = field(default_factory=dict)

    def terms(self, job: SlurmJob) -> int:
        return 0

    def saved_age_s(self, job: SlurmJob) -> float:
        return job.ran_s

    def batch_frac(self, job: SlurmJob) -> float:
        return 1.0

    def variant(self, job: SlurmJob) -> int:
        return self.variants.get(job.id, NONE)


def group(name: str, model: str, nodes: tuple[str, ...]) -> Group:
    written = {
        "name": name,
        "cluster": "c1",
        "budget": "hall",
        "nodes": len(nodes),
        "nodeNames": nodes,
        "gpusPerNode": 4,
        "gpuModel": model,
        "nodeNameplateWatts": 6000,
    }
    return Group.model_validate(written)


@pytest.fixture(scope="module")
def site() -> Site:
    budget = PowerBudget.model_validate({"metadata": {"name": "hall"}, "spec": {"limitWatts": 20_000}})
    return site_of("hall", (group("a", "H100", ("n1", "n2")), group("b", "A100", ("n3",))), (budget,), ())


def job(number: int, state: State = State.RUNNING, **more: object) -> SlurmJob:
    base = SlurmJob(f"{number}", number, "train", "alice", "ml", "gpu", "normal", state, 100.0, gpus=2)
    return replace(base, **more)  # type: ignore[arg-type]


def no_cards(site: Site) -> list[CardReport | None]:
    return [None] * len(site.gpus.node)


def card(name: str) -> CardReport:
    return CardReport(
        uuid="GPU-0", index=0, model="H100", age_s=0.1, power_w=500.0, energy_j=None, limit_w=700.0, min_w=200.0,
        max_w=700.0, shares=(Share(job=name, share_frac=1.0),),
    )  # fmt: skip


def test_a_running_job_has_the_cards_that_slurm_says(site: Site) -> None:
    jobs, of = Columns(site, {}).place([job(7, gpu_indices={"n2": (1, 3)})], no_cards(site), Nobody())
    assert np.flatnonzero(of == 0).tolist() == [5, 7]
    assert jobs.model.tolist() == [site.gpus.model[5]]


def test_where_slurm_names_no_indices_the_agents_do_and_else_a_whole_node_is_its_own(site: Site) -> None:
    cards = no_cards(site)
    cards[8] = cards[9] = card("7")
    shared, alone = job(7, nodes=("n3",)), job(8, nodes=("n1",), exclusive=True, gpus=4)
    jobs, of = Columns(site, {}).place([shared, alone], cards, Nobody())
    assert [jobs.id[j] for j in of if j != NONE] == ["8"] * 4 + ["7"] * 2
    assert site.models[int(jobs.model[jobs.id.index("7")])].name == "A100"


def test_the_parts_of_a_heterogeneous_job_are_one_under_its_leader() -> None:
    parts = [
        job(20, id="20+0", het_job_id="20+0", licences={"power": 100}, nodes=("n1",), gpu_indices={"n1": (0,)}),
        job(21, id="20+1", het_job_id="20+0", licences={"power": 50}, nodes=("n2",), gpu_indices={"n2": (2, 3)}),
    ]
    (one,) = whole(parts)
    assert (one.id, one.gpus, one.nodes, one.licences) == ("20+0", 4, ("n1", "n2"), {"power": 150})
    assert one.gpu_indices == {"n1": (0,), "n2": (2, 3)}


def test_a_job_that_a_person_suspended_or_holds_is_not_ours_to_move(site: Site) -> None:
    jobs = [
        job(1, State.SUSPENDED),
        job(2, State.PENDING, held=Held.ADMIN, reason="JobHeldAdmin"),
        job(3, State.PENDING, reason="Dependency"),
        job(4, State.SUSPENDED),
    ]
    found, _ = Columns(site, {}).place(jobs, no_cards(site), Nobody(paused=frozenset({"4"})))
    assert found.id == ("4",)
    assert found.state.tolist() == [JobState.PAUSED]


def test_a_job_without_gpus_is_not_the_cores_affair(site: Site) -> None:
    assert Columns(site, {}).place([job(1, gpus=0)], no_cards(site), Nobody())[0].id == ()


def test_waiting_jobs_stand_in_slurms_order_and_know_their_card_by_its_gres_type(site: Site) -> None:
    waiting = [
        job(1, State.PENDING, priority=5, reason="Priority", gpu_type="a100_80"),
        job(2, State.PENDING, priority=9, reason="Licenses", gpu_type="h100", time_limit_s=600.0),
        job(3, State.PENDING, priority=9, reason="Resources", submit_s=50.0),
    ]
    jobs, _ = Columns(site, {"a100_80": "A100"}).place(waiting, no_cards(site), Nobody(released=frozenset({"2"})))
    assert jobs.id == ("3", "2", "1")
    assert [site.models[int(m)].name for m in jobs.model] == ["H100", "H100", "A100"]
    assert jobs.state.tolist() == [JobState.HELD, JobState.RELEASED, JobState.HELD]
    assert jobs.left_s[1] == 600.0
    assert math.isnan(jobs.left_s[0])


indices = st.dictionaries(
    st.sampled_from(("n1", "n2", "n3", "elsewhere")), st.lists(st.integers(0, 9), max_size=4).map(tuple), max_size=3
)
some_jobs = st.lists(
    st.builds(
        lambda state, reason, gpus, where, priority: job(
            0, state, reason=reason, gpus=gpus, gpu_indices=where, priority=priority
        ),
        st.sampled_from(list(State)),
        st.sampled_from([*WAITS_FOR_US, "Dependency", "BeginTime"]),
        st.integers(0, 12),
        indices,
        st.integers(0, 3),
    ),
    max_size=8,
).map(lambda jobs: [replace(one, id=f"{i}", number=i) for i, one in enumerate(jobs)])


@given(some_jobs)
def test_whatever_slurm_says_columns_are_of_one_length_and_cards_point_into_them(jobs: list[SlurmJob]) -> None:
    budget = PowerBudget.model_validate({"metadata": {"name": "hall"}, "spec": {"limitWatts": 20_000}})
    site = site_of("hall", (group("a", "H100", ("n1", "n2")),), (budget,), ())
    found, of = Columns(site, {}).place(jobs, no_cards(site), Nobody())
    lengths = {len(getattr(found, name)) for name in found.__dataclass_fields__}
    assert lengths <= {len(found.id)}
    assert ((of >= NONE) & (of < max(len(found.id), 0))).all()
    running = [found.id[j] for j in {int(j) for j in of} - {NONE}]
    assert all(jobs[int(name)].state in (State.RUNNING, State.CONFIGURING) for name in running)
