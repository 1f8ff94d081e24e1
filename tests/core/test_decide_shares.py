"""A facility's tick: clusters' frontiers and batteries in, the clusters' watts and the batteries' orders out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.actions import Charge, Discharge
from wattlease.core.api import PowerBudget, PowerShare
from wattlease.core.decide_shares import Shared, Wish, decide_shares
from wattlease.core.frontier import Frontier
from wattlease.core.memory import FRESH
from wattlease.core.model import NodeReadings, Reading, Snapshot, Storage
from wattlease.core.shares_site import NO_JOBS, readings_of_shares, site_of_shares
from wattlease.core.wire import build, plain
from wattlease.runtime.site import scopes_of, storages_of

NOW_S = 1_767_268_800.0
QUICK = {"releasePercentPerMinute": 100}
PACK = {"name": "pack", "capacityWattHours": 10_000, "maxChargeWatts": 1000, "maxDischargeWatts": 1000}


def snapshot(draw_w: tuple[float, float], granted_w: tuple[float, float] = (1500.0, 1500.0), **spec: Any) -> Snapshot:
    """Two clusters of 1.5 to 8 kW under a campus of 10 kW."""
    written = {"limitWatts": 10_000, "guaranteedWatts": 3000, "band": {"marginPercent": 0}, **spec}
    scopes = scopes_of([PowerBudget.model_validate({"metadata": {"name": "campus"}, "spec": written})])
    share = {"budget": "campus", "watts": 8000, "guaranteedWatts": 1500}
    shares = [PowerShare.model_validate({"metadata": {"name": n}, "spec": {"cluster": n, **share}}) for n in "ab"]
    site = site_of_shares("campus", scopes, tuple(storages_of(scopes)), shares)
    nodes = NodeReadings(np.full(2, np.nan), np.full(2, np.nan), np.array(granted_w))
    storages = (Storage(0.8, 1.0, 0.0, 0.0, True),) * len(site.storages)
    cards = readings_of_shares(draw_w, (0.1, 0.1), granted_w)
    return Snapshot(NOW_S, site, cards, nodes, NO_JOBS, storages=storages)


def wish(top_w: float, dear: float = 1.0) -> Wish:
    """Ten steps of a tenth of the top each, the first at `dear` money for a kWh, each as much dearer."""
    price = dear * np.arange(1.0, 11.0) * 1e-3
    return Wish(Frontier(top_w, np.zeros(10, np.int64), price, np.full(10, top_w / 10)))


def shared(seen: Snapshot, *wishes: Wish) -> Shared:
    return decide_shares(seen, wishes, FRESH)[0]


@settings(max_examples=40)
@given(st.floats(1000, 12_000), st.floats(1000, 12_000), st.floats(0.1, 5.0), st.floats(0.1, 5.0), st.booleans())
def test_shares_fit_under_the_limit_and_what_batteries_are_ordered_to_give(
    one_w: float, two_w: float, one: float, two: float, with_battery: bool
) -> None:
    seen = snapshot((4000.0, 4000.0), storage=[PACK] if with_battery else [])
    found = shared(seen, wish(one_w, one), wish(two_w, two))
    given_w = sum(a.power_w for a in found.plan.actions if isinstance(a, Discharge))
    given_w -= sum(a.power_w for a in found.plan.actions if isinstance(a, Charge))
    assert found.plan.grant_w.sum() <= 10_000.0 + given_w + 1e-6
    assert (found.plan.grant_w >= 1500.0 - 1e-6).all()
    assert (found.plan.grant_w <= 8000.0 + 1e-6).all()


def test_the_cluster_whose_watts_cost_less_gives_more() -> None:
    cheap_w, dear_w = shared(snapshot((4000.0, 4000.0)), wish(7000.0, 1.0), wish(7000.0, 2.0)).plan.grant_w
    assert cheap_w < dear_w - 1000.0


def test_a_battery_gives_before_clusters_do_where_its_wear_is_cheaper() -> None:
    seen = snapshot((5000.0, 5500.0), storage=[PACK])
    found = shared(seen, wish(5000.0), wish(5500.0))
    assert [type(a) for a in found.plan.actions] == [Discharge]
    assert abs(found.plan.actions[0].power_w - 500.0) < 1.0  # type: ignore[union-attr]
    assert (found.plan.grant_w >= [5000.0 - 1e-6, 5500.0 - 1e-6]).all()
    worn = {**PACK, "wearCostPerKilowattHour": 50.0}
    idle = shared(snapshot((4500.0, 5000.0), storage=[worn]), wish(5000.0), wish(5500.0))
    assert idle.plan.actions[0].power_w < 1.0  # type: ignore[union-attr]


def test_what_is_drawn_beside_the_clusters_is_left_for_it() -> None:
    meters = [{"name": "feed", "kind": "Virtual", "windowSeconds": 1}]
    seen = snapshot((4000.0, 4000.0), meters=meters)
    memory, found = FRESH, None
    for tick in range(120):
        now = replace(seen, now_s=NOW_S + tick, meters=(Reading("feed", 0, 8600.0, 0.1, 1.0),))
        found, memory = decide_shares(now, (wish(7000.0), wish(7000.0)), memory)
    assert found is not None
    assert 8900.0 < found.plan.grant_w.sum() <= 9450.0


def lent_after_a_rise_w(drawn_frac: float) -> float:
    """What is lent, battery and all, two minutes after the limit rose from 8 to 10 kW; of what the clusters say that
    they draw so much is drawn."""
    meters = [{"name": "feed", "kind": "Virtual", "windowSeconds": 1}]
    memory, found = FRESH, None
    for tick in range(180):
        limit_w = 8_000 if tick < 60 else 10_000
        seen = snapshot((4000.0, 4000.0), limitWatts=limit_w, meters=meters, ramp=QUICK, storage=[PACK])
        gives = (replace(seen.storages[0], power_w=1000.0),)
        feed_w = drawn_frac * 8000.0 - 1000.0 + 1e-3 * tick  # digits that rest are a dead meter's
        read = (Reading("feed", 0, feed_w, 0.1, 1.0),)
        found, memory = decide_shares(
            replace(seen, now_s=NOW_S + tick, meters=read, storages=gives), (wish(7000.0), wish(7000.0)), memory
        )
    assert found is not None
    return float(found.plan.grant_w.sum())


@pytest.mark.parametrize("drawn_frac", [0.7, 0.85, 1.0])
def test_clusters_that_say_more_than_they_draw_do_not_make_the_meter_a_liar(drawn_frac: float) -> None:
    """Without a meter of its own a cluster counts its overhead as configured, and what it does not hear at the worst; a
    facility that believes no meter lets nothing rise."""
    assert lent_after_a_rise_w(drawn_frac) > 10_400.0


def test_a_meter_that_has_lost_half_of_what_clusters_draw_lets_nothing_rise() -> None:
    assert lent_after_a_rise_w(0.4) < 9_100.0


def test_clusters_that_were_not_heard_at_first_cost_nothing_once_they_are() -> None:
    """Until then they count at the most that they may have: that is no noise for which watts are kept free."""
    memory, found = FRESH, None
    for tick in range(60):
        seen = snapshot((4000.0, 4000.0), granted_w=(8000.0, 8000.0))
        heard = tick >= 10
        cards = replace(seen.gpus, age_s=np.full(2, 0.1 if heard else np.inf))
        wishes = (wish(7000.0), wish(7000.0)) if heard else (Wish(None), Wish(None))
        found, memory = decide_shares(replace(seen, now_s=NOW_S + tick, gpus=cards), wishes, memory)
    assert found is not None
    assert found.plan.grant_w.sum() > 9_990.0


def test_the_watts_of_a_cluster_that_is_not_heard_are_lent_to_nobody() -> None:
    seen = snapshot((4000.0, 4000.0), granted_w=(6000.0, 1500.0))
    found = shared(seen, Wish(None), wish(8000.0))
    assert found.plan.grant_w.tolist() == [6000.0, 4000.0]


def test_what_nobody_needs_is_room_for_all() -> None:
    found = shared(snapshot((2000.0, 2000.0)), wish(2000.0), wish(2000.0))
    assert abs(found.plan.grant_w.sum() - 10_000.0) < 1e-6
    assert found.price == (None,)


def test_the_memory_survives_json() -> None:
    _, memory = decide_shares(snapshot((4000.0, 4000.0)), (wish(7000.0), wish(7000.0)), FRESH)
    assert plain(build(type(memory), plain(memory))).keys() == plain(memory).keys()
