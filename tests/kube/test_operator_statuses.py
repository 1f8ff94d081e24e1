"""What statuses say: laws over all that a tick may find, then the words of each trouble."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from wattlease.core.actions import Plan, ScopePlan
from wattlease.core.api import PowerBudget
from wattlease.core.model import GpuReadings, Jobs, NodeReadings, Reading, Snapshot
from wattlease.runtime.crds.status import PowerBudgetStatus, State
from wattlease.runtime.site import site_of
from wattlease.runtime.site_words import Group
from wattlease_operator.statuses import Finding, Lacks, Told, changed, governed, is_bad, status_of, ungoverned

NOTHING = np.empty(0)
NONE_AT_ALL = np.empty(0, np.int64)
NO_JOBS = Jobs(
    (), (), (), (), NONE_AT_ALL, NONE_AT_ALL, NONE_AT_ALL, NONE_AT_ALL, NONE_AT_ALL,
    NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NONE_AT_ALL,
)  # fmt: skip
THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
TYPES = ("Ready", "MetersHealthy", "WithinLimit", "Shedding", "FallbackFits", "Shadow")


def snapshot(readings: tuple[Reading, ...] = (), **spec: Any) -> Snapshot:
    budgets = [
        PowerBudget.model_validate({"metadata": {"name": "hall"}, "spec": {"limitWatts": 20_000, **spec}}),
        PowerBudget.model_validate({"metadata": {"name": "rack"}, "spec": {"limitWatts": 9_000, "parent": "hall"}}),
    ]
    groups = [
        Group(name=name, cluster="c", budget=name, nodes=2, gpu_model="H100", node_nameplate_watts=8000)
        for name in ("hall", "rack")
    ]
    site, cards = site_of("c", groups, budgets, ()), np.zeros(32)
    gpus, nodes = GpuReadings(cards, cards, cards, np.full(32, -1)), NodeReadings(np.zeros(4), np.zeros(4), np.zeros(4))
    return Snapshot(0.0, site, gpus, nodes, NO_JOBS, readings)


def plan(*scopes: ScopePlan) -> Plan:
    return Plan(0.0, (), (), scopes, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)


def scope(name: str = "hall", state: str = "within", limit_w: float = 20_000.0, draw_w: float = 9_000.0) -> ScopePlan:
    return ScopePlan(name, limit_w, "static", f"{name}'s limit", draw_w, draw_w, state)


def found(told: Told, kind: str) -> Finding:
    return next(f for f in told.findings if f.type == kind)


def word(told: Told, kind: str) -> tuple[str, str]:
    return found(told, kind).word, found(told, kind).reason


states = st.sampled_from([name.lower() for name in get_args(State)])
watts = st.floats(0.0, 1e9)
scopes = st.builds(scope, state=states, limit_w=watts, draw_w=st.floats(-1e9, 1e9))
lacks = st.builds(
    Lacks, short_w=st.lists(watts, max_size=3).map(tuple), missing_w=watts, shortfall_w=watts
)  # fmt: skip
refused = st.dictionaries(st.sampled_from(["hall", "rack"]), st.text(min_size=1, max_size=20))


@hypothesis(max_examples=200, deadline=None)
@given(scopes, scopes, lacks, refused, st.sampled_from(["Enforce", "Shadow"]))
def test_whatever_a_tick_finds_each_budget_is_told_the_six_conditions_in_the_form_of_its_definition(
    hall: ScopePlan, rack: ScopePlan, lacking: Lacks, wrong: dict[str, str], mode: str
) -> None:
    told = governed(snapshot(mode=mode), plan(hall, rack), lacking, wrong)
    assert set(told) == {"hall", "rack"}
    for name, one in told.items():
        status = status_of(one, 7, {}, NOW)
        read = PowerBudgetStatus.model_validate(status)
        assert tuple(c.type for c in read.conditions) == TYPES
        assert {c.observed_generation for c in read.conditions} == {7}
        assert (word(one, "Ready")[0] == "False") == (name in wrong)
        if read.draw_watts is not None and read.headroom_watts is not None and read.limit_watts is not None:
            assert abs(read.limit_watts - read.draw_watts - read.headroom_watts) <= 1
        else:
            assert read.state == "Blind"
        assert word(one, "Shadow")[0] == str(mode == "Shadow")


@hypothesis(max_examples=100, deadline=None)
@given(scopes, scopes, lacks, lacks)
def test_a_condition_keeps_its_time_until_it_is_another_and_news_is_told_once(
    before: ScopePlan, after: ScopePlan, lacked: Lacks, lacking: Lacks
) -> None:
    seen = snapshot()
    first = governed(seen, plan(before, scope("rack")), lacked, {})["hall"]
    second = governed(seen, plan(after, scope("rack")), lacking, {})["hall"]
    written = {"status": status_of(first, 1, {}, THEN)}
    assert changed(first, written) == []
    status = status_of(second, 2, written, NOW)
    for old, new in zip(written["status"]["conditions"], status["conditions"], strict=True):
        assert new["lastTransitionTime"] == (THEN if old["status"] == new["status"] else NOW)
    pairs = zip(second.findings, first.findings, strict=True)
    others = {f.type for f, g in pairs if (f.status, f.reason) != (g.status, g.reason)}
    assert {f.type for f in changed(second, written)} <= others
    assert changed(second, {"status": status}) == []


def test_a_limit_that_nothing_can_meet_says_so_and_by_how_much() -> None:
    rack = scope("rack", "over", limit_w=9_000.0, draw_w=9_800.0)
    told = governed(snapshot(), plan(scope(), rack), Lacks((0.0, 800.0), 0.0, 0.0), {})
    assert word(told["hall"], "WithinLimit") == ("True", "Within")
    assert word(told["rack"], "WithinLimit") == ("False", "LimitCannotBeHeld")
    assert "800 W" in found(told["rack"], "WithinLimit").message
    ramped = governed(snapshot(), plan(scope(), scope("rack")), Lacks((0.0, 800.0), 0.0, 0.0), {})
    assert word(ramped["rack"], "WithinLimit") == ("True", "Within"), "it is short of the ramp, not of the limit"
    silent = governed(snapshot(), plan(scope(), scope("rack")), Lacks((), 5000.0, 0.0), {})
    assert word(silent["hall"], "WithinLimit") == ("False", "LimitCannotBeHeld")
    assert word(silent["rack"], "WithinLimit") == ("True", "Within")
    assert "5.0 kW of fallbacks" in found(silent["hall"], "WithinLimit").message


def test_fallbacks_that_do_not_fit_are_summed_for_each_budget_with_all_below_it() -> None:
    told = governed(snapshot(guaranteedWatts=6000), plan(scope(), scope("rack")), Lacks(), {})
    assert word(told["hall"], "FallbackFits") == ("False", "FallbackTooHigh")  # four nodes of eight cards at 200 W
    assert "4 nodes sum to 6.4 kW" in found(told["hall"], "FallbackFits").message
    assert "400 W too little" in found(told["hall"], "FallbackFits").message
    assert word(told["rack"], "FallbackFits") == ("True", "Fits")
    late = governed(snapshot(), plan(scope(), scope("rack")), Lacks(shortfall_w=50.0), {})
    assert word(late["hall"], "FallbackFits") == ("False", "FallbackTooHigh"), "the ledger still counts an older one"


def test_meters_are_named_that_do_not_tell() -> None:
    reach = {"url": "http://p:9090", "query": "feed"}
    meters = [{"name": name, "kind": "Prometheus", "prometheus": reach} for name in ("a", "b")]
    fresh = [Reading(name, 0, 9000.0, 1.0, 1.0) for name in ("a", "b")]
    every = plan(scope(), scope("rack"))
    both = governed(snapshot(tuple(fresh), meters=meters), every, Lacks(), {})["hall"]
    assert word(both, "MetersHealthy") == ("True", "Fresh")
    one = governed(snapshot((fresh[0],), meters=meters), every, Lacks(), {})["hall"]
    assert word(one, "MetersHealthy") == ("False", "SomeSilent")
    assert found(one, "MetersHealthy").message.endswith("silent: b.")
    none = governed(snapshot((), meters=meters), plan(scope(state="blind"), scope("rack")), Lacks(), {})["hall"]
    assert word(none, "MetersHealthy") == ("False", "Blind")
    assert word(none, "WithinLimit") == ("Unknown", "Blind")
    assert word(governed(snapshot(), every, Lacks(), {})["hall"], "MetersHealthy") == ("Unknown", "NoMeters")


def test_a_budget_that_nothing_is_held_to_says_why_and_is_bad_news() -> None:
    told = ungoverned("Refused", "spec.parent: there is none", "Shadow")
    read = PowerBudgetStatus.model_validate(status_of(told, 1, {}, NOW))
    assert [(c.type, c.status) for c in read.conditions] == [
        ("Ready", "False"), *((name, "Unknown") for name in TYPES[1:5]), ("Shadow", "True"),
    ]  # fmt: skip
    [news] = changed(told, {})
    assert (news.reason, is_bad(news)) == ("Refused", True)
