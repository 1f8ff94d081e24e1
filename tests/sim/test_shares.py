"""Two clusters under one budget in the simulator: leases between them, and a watt that is worth the same in both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wattlease.sim import loop
from wattlease.sim.run import Run
from wattlease.sim.scenario import Scenario
from wattlease.sim.shares import SharedSite, apart
from wattlease.sim.simulating import scenario_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "two-clusters" / "scenario.yaml"
EVENT_S, LOST_S, LOST_FOR_S = 120, 300, 45


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    """The example with its event after two minutes, and its fault after five."""
    whole = scenario_of(EXAMPLE)
    budget = whole.budgets[0]
    event = budget.spec.demand_response[0]
    start = whole.start.timestamp() + EVENT_S
    moved = event.model_copy(update={"start": whole.start.fromtimestamp(start, whole.start.tzinfo)})
    spec = budget.spec.model_copy(update={"demand_response": (moved,)})
    fault = whole.faults[0].model_copy(update={"at_seconds": float(LOST_S), "seconds": float(LOST_FOR_S)})
    changes = {"budgets": (budget.model_copy(update={"spec": spec}),), "faults": (fault,), "duration_seconds": 420}
    return whole.model_copy(update=changes)


@pytest.fixture(scope="module")
def ran(scenario: Scenario) -> tuple[Run, SharedSite]:
    site = SharedSite(scenario)
    return loop.run(scenario, "shares", 1, shared=site), site


def test_marginal_costs_are_equal_within_a_percent_at_the_limit(ran: tuple[Run, SharedSite]) -> None:
    run, site = ran
    minutes = site.minutes()
    assert len(minutes) >= 3
    assert np.median(apart(minutes)) <= 0.01
    one, two = minutes.mean(axis=(0, 2))
    assert abs(one / two - 1.0) < 0.05
    assert "marginal costs apart, median minute" in run.facts


def test_shares_never_sum_to_more_than_the_limit(ran: tuple[Run, SharedSite]) -> None:
    run, site = ran
    late_s = 10  # a limit that falls holds one time to live later
    highest_w = [run.limit_w[max(0, k - late_s) : k + 1].max() for k in range(len(run.limit_w))]
    assert (np.array(site.sums_w) <= np.array(highest_w) + 1e-6).all()
    assert site.over_s() == 0.0
    assert run.limit_w.min() < run.limit_w.max(), "the limit fell"


def test_a_share_that_cannot_be_renewed_falls_back_and_comes_back(ran: tuple[Run, SharedSite]) -> None:
    run, site = ran
    held = site.held_w["kube"]
    guaranteed_w = site.clusters[1].guaranteed_w
    assert held[LOST_S - 1] > guaranteed_w + 1000.0
    assert held[LOST_S + 12] == guaranteed_w
    assert held[LOST_S + LOST_FOR_S - 1] == guaranteed_w
    assert held[-1] > guaranteed_w + 1000.0
    lent_w = site.held_w["slurm"][LOST_S + 30] - site.held_w["slurm"][LOST_S - 1]
    assert lent_w > 1000.0, "what it returned goes to the other one"
    kube = np.sum([s.power_w for s in run.series if s.cluster == "kube"], axis=0)
    assert kube[LOST_S + 20] < kube[LOST_S - 1] - 1000.0


def test_the_policy_shares_is_refused_where_a_cluster_has_no_share(scenario: Scenario) -> None:
    lacking = scenario.model_dump(by_alias=True, mode="json") | {"shares": []}
    with pytest.raises(ValueError, match="needs one for each cluster"):
        Scenario.model_validate(lacking)
