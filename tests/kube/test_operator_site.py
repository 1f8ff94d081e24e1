"""From the cluster's objects to settings: what is taken up, and what stands where something is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from wattlease.core.errors import BudgetError
from wattlease.runtime.site import site_of
from wattlease_operator.settings import OperatorSettings
from wattlease_operator.site_of_cluster import Good, site_of_cluster


def told(**more: Any) -> OperatorSettings:
    written = {"cluster": "hall", "listen": {"host": "127.0.0.1", "secretFile": "unused"}, **more}
    return OperatorSettings.model_validate_json(json.dumps(written))


def node(name: str, gpus: str = "8", product: str = "NVIDIA-H100-80GB-HBM3", **labels: str) -> dict[str, Any]:
    written = {"nvidia.com/gpu.product": product, **labels} if product else labels
    return {"metadata": {"name": name, "labels": written}, "status": {"capacity": {"nvidia.com/gpu": gpus}}}


def budget(name: str, **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "uid": name, "annotations": {"of": "others"}}
    head = {"apiVersion": "wattlease.io/v1alpha1", "kind": "PowerBudget", "metadata": meta}
    return {**head, "spec": {"limitWatts": 100_000, **spec}}


def profile(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "uid": name}
    return {"apiVersion": "wattlease.io/v1alpha1", "kind": "PowerProfile", "metadata": meta, "spec": spec}


def test_nodes_alike_are_one_group_under_the_root_which_names_none() -> None:
    site = site_of_cluster(told(), [node("b.ec2.internal"), node("a"), node("cpu", gpus="0")], [budget("hall")], [])
    assert site.settings is not None
    [group] = site.settings.groups
    assert (group.node_names, group.gpus_per_node, group.gpu_model) == (("a", "b.ec2.internal"), 8, "H100")
    assert (group.budget, group.cluster, site.refusals) == ("hall", "hall", ())


def test_a_node_belongs_to_the_deepest_budget_that_names_it_and_one_that_none_names_to_none() -> None:
    budgets = [
        budget("hall", scope={"clusters": ["hall"]}),
        budget("row", parent="hall", scope={"nodeSelector": {"row": "r1", "fed": "a"}}),
        budget("rack", parent="row", scope={"nodes": ["r1-*"]}),
        budget("elsewhere", parent="hall", scope={"clusters": ["other"]}),
    ]
    nodes = [node("r1-01", row="r1", fed="a"), node("x", row="r1", fed="a"), node("y", row="r1"), node("z")]
    site = site_of_cluster(told(), nodes, budgets, [])
    assert site.settings is not None
    assert {name: g.budget for g in site.settings.groups for name in g.names} == {
        "r1-01": "rack", "x": "row", "y": "hall", "z": "hall",
    }  # fmt: skip
    narrow = site_of_cluster(told(), nodes, [budget("hall", scope={"nodes": ["r1-*"]})], [])
    assert narrow.settings is not None
    assert [name for g in narrow.settings.groups for name in g.names] == ["r1-01"]


def test_a_node_of_a_card_that_nobody_knows_counts_at_the_hungriest_and_is_told() -> None:
    site = site_of_cluster(told(), [node("a", product="Frobnicator-9000")], [budget("hall")], [])
    assert site.settings is not None
    [group] = site.settings.groups
    assert group.card is not None
    assert group.card.rated_watts == 1400.0
    assert group.node_nameplate_watts == round(1700 + 1.14 * 8 * 1400)
    [refusal] = site.refusals
    assert (refusal.kind, refusal.name) == ("Node", "a")
    assert "Frobnicator-9000" in refusal.text
    assert "products" in refusal.text


def test_products_say_what_nodes_of_them_may_draw() -> None:
    product = {"gpuModel": "H200", "nodeNameplateWatts": 10_200, "nodeFallbackWatts": 4000, "overhead": {}}
    site = site_of_cluster(told(products={"Odd": product}), [node("a", product="Odd")], [budget("hall")], [])
    assert site.settings is not None
    [group] = site.settings.groups
    assert (group.gpu_model, group.node_nameplate_watts, group.node_fallback_watts) == ("H200", 10_200, 4000)
    assert site.refusals == ()


def test_cards_are_counted_by_their_label_and_slices_are_told() -> None:
    shared = node("a", gpus="80", **{"nvidia.com/gpu.count": "8"})
    sliced = node("b", gpus="80")
    site = site_of_cluster(told(), [shared, sliced], [budget("hall")], [])
    assert site.settings is not None
    assert sorted(g.gpus_per_node for g in site.settings.groups) == [8, 16]
    assert [r.name for r in site.refusals] == ["b"]


def test_a_budget_that_does_not_parse_is_refused_and_its_last_good_form_stands() -> None:
    first = site_of_cluster(told(), [node("a")], [budget("hall", limitWatts=50_000)], [])
    nonsense = budget("hall", limitWatts=40_000, schedule=[{"name": "x"}])
    second = site_of_cluster(told(), [node("a")], [nonsense], [], first.good)
    assert second.settings == first.settings
    [refusal] = second.refusals
    assert (refusal.kind, refusal.name) == ("PowerBudget", "hall")
    assert "schedule" in refusal.text
    assert "last good form stands" in refusal.text
    mended = site_of_cluster(told(), [node("a")], [budget("hall", limitWatts=40_000)], [], second.good)
    assert mended.settings is not None
    assert mended.settings.budgets[0].spec.limit_watts == 40_000
    assert mended.refusals == ()


def test_a_time_zone_that_does_not_exist_is_refused() -> None:
    evening = {"name": "evening", "days": ["Mon"], "start": "17:00", "end": "20:00", "limitWatts": 1000}
    wrong = budget("hall", schedule=[{**evening, "timeZone": "Europe/Atlantis"}])
    site = site_of_cluster(told(), [node("a")], [wrong], [])
    assert site.settings is None
    assert "Europe/Atlantis" in site.refusals[0].text


def test_children_that_are_promised_more_than_their_parent_has_change_nothing() -> None:
    hall, rack = budget("hall", guaranteedWatts=50_000), budget("rack", parent="hall", guaranteedWatts=10_000)
    first = site_of_cluster(told(), [node("a")], [hall, rack], [])
    greedy = budget("rack", parent="hall", guaranteedWatts=60_000)
    second = site_of_cluster(told(), [node("a")], [hall, greedy], [], first.good)
    assert second.settings == first.settings
    assert {r.name for r in second.refusals} == {"hall", "rack"}


def test_a_budget_whose_parent_is_not_there_is_refused_alone() -> None:
    budgets = [budget("hall"), budget("rack", parent="hal", scope={"nodes": ["a"]})]
    site = site_of_cluster(told(), [node("a")], budgets, [])
    assert site.settings is not None
    assert [b.name for b in site.settings.budgets] == ["hall"]
    [refusal] = site.refusals
    assert "did you mean 'hall'?" in refusal.text


def test_of_several_roots_the_settings_name_ours() -> None:
    budgets = [budget("north"), budget("south"), budget("rack", parent="south")]
    unsaid = site_of_cluster(told(), [node("a")], budgets, [])
    assert unsaid.settings is None
    assert "rootBudget" in unsaid.waits
    said = site_of_cluster(told(rootBudget="south"), [node("a")], budgets, [])
    assert said.settings is not None
    assert [b.name for b in said.settings.budgets] == ["south", "rack"]


def test_without_budgets_or_gpus_it_waits_and_says_for_what() -> None:
    assert "no PowerBudget" in site_of_cluster(told(), [node("a")], [], []).waits
    assert "nvidia.com/gpu" in site_of_cluster(told(), [node("a", gpus="0")], [budget("hall")], []).waits


def test_profiles_of_one_name_in_two_namespaces_are_two() -> None:
    profiles = [profile("train", "a", weight=2), profile("train", "b", weight=3), profile("odd", "b", weight=-1)]
    site = site_of_cluster(told(), [node("a")], [budget("hall")], profiles)
    assert site.settings is not None
    found = [(p.metadata.namespace, p.spec.weight) for p in site.settings.profiles]
    assert found == [("a", 2.0), ("b", 3.0)]
    assert [(r.kind, r.namespace, r.name) for r in site.refusals] == [("PowerProfile", "b", "odd")]


names = st.sampled_from(["hall", "row", "rack", "r2"])
specs = st.fixed_dictionaries(
    {"limitWatts": st.integers(-1, 3) | st.just(10**6)},
    optional={"parent": names, "guaranteedWatts": st.integers(1, 4), "scope": st.just({"nodes": ["a*"]})},
)
sets = st.dictionaries(names, specs, max_size=4)


@hypothesis(max_examples=150, deadline=None)
@given(st.lists(sets, min_size=1, max_size=4))
def test_whatever_is_written_what_is_taken_up_fits_together(steps: list[dict[str, dict[str, Any]]]) -> None:
    good = Good()
    for step in steps:
        budgets = [budget(name, **spec) for name, spec in step.items()]
        site = site_of_cluster(told(), [node("a1"), node("b1")], budgets, [], good)
        good = site.good
        if site.settings is None:
            assert site.waits
            continue
        s = site.settings
        try:
            site_of(s.name, s.groups, s.budgets, s.profiles)
        except BudgetError as error:  # pragma: no cover - the law
            pytest.fail(str(error))
        assert {b.name for b in s.budgets} <= set(step), "what was deleted is gone"
        unlike = {b.name for b in s.budgets if b.spec.limit_watts != step[b.name].get("limitWatts")}
        assert unlike <= {r.name for r in site.refusals}, "what is not as it was written is told"


SHARE = {
    "cluster": "hall",
    "grantors": ["https://facility:8943"],
    "authority": "ca.crt",
    "certificate": "hall.crt",
    "key": "hall.key",
}


def test_an_operator_holds_a_share_as_any_controller_does() -> None:
    site = site_of_cluster(told(share=SHARE), [node("a")], [budget("hall")], [])
    assert site.settings is not None
    assert site.settings.share is not None
    assert site.settings.share.grantors == ("https://facility:8943",)


def test_a_battery_that_the_facility_has_is_refused_and_waited_for() -> None:
    pack = {"name": "pack", "capacityWattHours": 1000, "maxChargeWatts": 1000, "maxDischargeWatts": 1000}
    site = site_of_cluster(told(share=SHARE), [node("a")], [budget("hall", storage=[pack])], [])
    assert site.settings is None
    assert "stands behind the facility's meter" in site.waits
    assert site_of_cluster(told(share=SHARE), [node("a")], [budget("hall")], [], site.good).settings is not None
