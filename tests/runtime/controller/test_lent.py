"""What a plan has for nodes is lent as far as feed and batteries bear it by now: the laws, at random moments."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlease.core.actions import Charge, Discharge, Plan
from wattlease.core.api import PowerBudget
from wattlease.core.decide import decide
from wattlease.core.memory import FRESH
from wattlease.core.model import NONE, Floats, Scope, Snapshot, Storage, StorageUnit
from wattlease.runtime.controller.act import lent_w, supply_w
from wattlease.sim import instances
from wattlease.sim.instances import Shape

NEAR_W = 1e-6
SEEN = instances.snapshot(np.random.default_rng(5), Shape(running=12, sizes=(8,)))
PLAN, AFTER = decide(SEEN, FRESH)
NODES = len(SEEN.site.nodes.id)
MARGIN_FRAC = 0.01
SPEC = {"limitWatts": 66_000, "band": {"marginPercent": 100 * MARGIN_FRAC}}
HALL = Scope("hall", NONE, PowerBudget.model_validate({"metadata": {"name": "hall"}, "spec": SPEC}))


@dataclass(frozen=True)
class Case:
    """A moment: what is wanted and out, what the feed draws and may, batteries with their orders and their deeds."""

    snapshot: Snapshot
    plan: Plan
    allowed_w: float
    beside_w: float
    order_w: Floats
    wanted_w: Floats

    @property
    def gives_w(self) -> Floats:
        """What batteries do in the sense of their orders; one whose power nobody knows gives nothing."""
        deeds_w = np.nan_to_num([state.power_w for state in self.snapshot.storages])
        return np.minimum(self.order_w, deeds_w)

    @property
    def feed_w(self) -> float:
        """What may come through the feed."""
        return (1.0 - MARGIN_FRAC) * self.allowed_w

    @property
    def lent_w(self) -> Floats:
        scopes = replace(AFTER.scopes, allowed_w=np.array([self.allowed_w]))
        return lent_w(self.snapshot, self.plan, scopes, self.wanted_w, self.beside_w)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    watts, site_w = st.floats(0.0, 9000.0), st.floats(0.0, 9000.0 * NODES)
    columns = st.lists(watts, min_size=NODES, max_size=NODES).map(np.array)
    order_w = draw(st.lists(st.floats(-3e4, 3e4), max_size=3).map(np.array))
    deeds_w = [draw(st.floats(-3e4, 3e4) | st.just(np.nan)) for _ in order_w]
    units = tuple(StorageUnit(f"pack-{u}", 0, 1e9, 3e4, 3e4, 0.2) for u in range(len(order_w)))
    nodes = replace(SEEN.site.nodes, fallback_w=draw(columns))
    snapshot = replace(
        SEEN,
        site=replace(SEEN.site, scopes=(HALL,), storages=units, nodes=nodes),
        nodes=replace(SEEN.nodes, granted_w=draw(columns)),
        storages=tuple(Storage(0.8, 1.0, deed_w, 0.5, True) for deed_w in deeds_w),
    )
    orders = zip(units, order_w.tolist(), strict=True)
    actions = tuple(Discharge(u.id, order) if order >= 0 else Charge(u.id, -order) for u, order in orders)
    scope = replace(PLAN.scopes[0], draw_w=draw(site_w))
    plan = replace(PLAN, actions=actions, scopes=(scope,))
    return Case(snapshot, plan, draw(site_w), draw(st.floats(0.0, 2e4)), order_w, draw(columns))


@given(cases())
def test_nobody_gets_more_than_the_plan_has_for_it(case: Case) -> None:
    assert (case.lent_w <= case.wanted_w + NEAR_W).all()


@given(cases())
def test_all_together_rise_by_no_more_than_the_feed_is_seen_to_have_free(case: Case) -> None:
    free_w = max(case.feed_w - case.plan.scopes[0].draw_w, 0.0)
    assert case.lent_w.sum() <= case.snapshot.nodes.granted_w.sum() + free_w + NEAR_W


@given(cases())
def test_what_batteries_owe_is_not_lent_but_for_fallbacks_and_what_comes_through_the_feed(case: Case) -> None:
    late_w = (case.order_w - case.gives_w).sum()
    through_w = case.feed_w + case.gives_w.sum() - case.beside_w
    fallback_w = np.minimum(case.wanted_w, case.snapshot.site.nodes.fallback_w).sum()
    assert case.lent_w.sum() <= max(case.wanted_w.sum() - late_w, through_w, fallback_w) + NEAR_W


@given(cases())
def test_nobody_who_has_watts_gives_any_back_while_batteries_give_what_they_were_ordered(case: Case) -> None:
    kept = replace(case, snapshot=_obeyed(case))
    assert (kept.lent_w >= np.minimum(case.wanted_w, case.snapshot.nodes.granted_w) - NEAR_W).all()


@given(cases())
def test_watts_pass_from_one_to_another_though_the_feed_has_none_free(case: Case) -> None:
    swapped = replace(case.snapshot, nodes=replace(case.snapshot.nodes, granted_w=case.wanted_w[::-1]))
    full = replace(case, snapshot=swapped, allowed_w=0.0)
    assert replace(full, snapshot=_obeyed(full)).lent_w == pytest.approx(case.wanted_w)


@given(cases())
def test_a_plan_that_fits_is_lent_whole(case: Case) -> None:
    raises_w = np.maximum(case.wanted_w - case.snapshot.nodes.granted_w, 0.0).sum()
    allowed_w = (case.plan.scopes[0].draw_w + 1.01 * raises_w) / (1.0 - MARGIN_FRAC)
    fits = replace(case, snapshot=_obeyed(case), allowed_w=allowed_w)
    assert fits.lent_w == pytest.approx(case.wanted_w)


def _obeyed(case: Case) -> Snapshot:
    """The moment with batteries that do as they are ordered."""
    states = zip(case.snapshot.storages, case.order_w.tolist(), strict=True)
    return replace(case.snapshot, storages=tuple(replace(state, power_w=order_w) for state, order_w in states))


@given(cases())
def test_the_supply_is_the_limit_and_of_each_battery_the_lesser_of_order_and_deed(case: Case) -> None:
    limit_w = case.plan.scopes[0].limit_w
    assert supply_w(case.snapshot, case.plan) == pytest.approx(max(limit_w + case.gives_w.sum(), 0.0), abs=NEAR_W)
