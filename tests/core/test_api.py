"""What the resources take, what they refuse, and what a refusal says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wattlease.core.api import (
    Metadata,
    PowerBudget,
    PowerBudgetSpec,
    PowerProfile,
    PowerProfileSpec,
    PowerShare,
    PowerShareSpec,
    check_tree,
)
from wattlease.core.errors import BudgetError

EVENT = {"name": "peak", "start": "2026-07-01T16:00:00Z", "end": "2026-07-01T18:00:00Z", "limitWatts": 50}
WEEKLY = {"name": "evening", "start": "17:00", "end": "21:00", "limitWatts": 60}
BATTERY = {"name": "b", "capacityWattHours": 10, "maxChargeWatts": 5, "maxDischargeWatts": 5}


def budget(name: str, limit_w: int = 100, parent: str | None = None, guaranteed_w: int | None = None) -> PowerBudget:
    spec = PowerBudgetSpec(limit_watts=limit_w, parent=parent, guaranteed_watts=guaranteed_w)
    return PowerBudget(metadata=Metadata(name=name), spec=spec)


def steps(*batch_and_draw: tuple[int, int]) -> list[dict[str, int]]:
    """Batch steps of half speed."""
    return [{"batchPercent": b, "drawPercent": d, "speedPercent": 50} for b, d in batch_and_draw]


def refusal(model: type[Any], **fields: Any) -> tuple[str, tuple[str | int, ...]]:
    """The first refusal: its text and the field that it points at."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(fields)
    error = caught.value.errors()[0]
    return error["msg"], (*error["loc"], *error.get("ctx", {}).get("at", ()))


HIGH = {"overPercent": 20, "seconds": 9}
LOW = {"overPercent": 9, "seconds": 9}

REFUSED = [
    ({"guaranteedWatts": 101}, "at most 100", ("guaranteedWatts",)),
    ({"guaranteedWatts": 51, "demandResponse": [EVENT]}, "demandResponse 'peak' of 50 W", ("guaranteedWatts",)),
    ({"guaranteedWatts": 61, "schedule": [WEEKLY]}, "schedule 'evening' of 60 W", ("guaranteedWatts",)),
    ({"guaranteedWatts": 81, "breaker": {"ratedWatts": 80}}, "breaker's ratedWatts of 80 W", ("guaranteedWatts",)),
    (
        {"guaranteedWatts": 71, "thermalDerate": [{"aboveCelsius": 35, "limitPercent": 70}]},
        "thermalDerate of 70 W",
        ("guaranteedWatts",),
    ),
    ({"schedule": [WEEKLY, WEEKLY]}, "used twice", ("schedule", 1, "name")),
    ({"schedule": [{**WEEKLY, "end": "17:00"}]}, "00:00 to 24:00", ("schedule", 0, "end")),
    ({"schedule": [{**WEEKLY, "start": "24:00"}]}, "no start", ("schedule", 0, "start")),
    ({"demandResponse": [{**EVENT, "end": EVENT["start"]}]}, "not after the start", ("demandResponse", 0, "end")),
    ({"demandResponse": [{**EVENT, "rampSeconds": 7201}]}, "longer than", ("demandResponse", 0, "rampSeconds")),
    (
        {
            "breaker": {
                "ratedWatts": 9,
                "tripCurve": [{"overPercent": 9, "seconds": 9}, {"overPercent": 20, "seconds": 9}],
            }
        },
        "does not fall below 9",
        ("breaker", "tripCurve", 1, "seconds"),
    ),
    (
        {
            "breaker": {
                "ratedWatts": 9,
                "tripCurve": [{"overPercent": 9, "seconds": 9}, {"overPercent": 9, "seconds": 5}],
            }
        },
        "does not rise above 9",
        ("breaker", "tripCurve", 1, "overPercent"),
    ),
    ({"redundancy": {"feeds": [{"name": "a", "ratedWatts": 5}]}}, "leaves none", ("redundancy", "tolerate")),
    ({"storage": [{**BATTERY, "maxChargeWatts": 0}]}, "greater than or equal to 1", ("storage", 0, "maxChargeWatts")),
    ({"storage": [{**BATTERY, "reservePercent": 95}]}, "nothing to use", ("storage", 0, "reservePercent")),
    (
        {"meters": [{"name": "m", "kind": "Virtual", "minWatts": 5, "maxWatts": 5}]},
        "not above minWatts",
        ("meters", 0, "maxWatts"),
    ),
    (
        {"meters": [{"name": "m", "kind": "Virtual", "delaySeconds": 10}]},
        "no reading would ever count",
        ("meters", 0, "staleSeconds"),
    ),
    (
        {"thermalDerate": [{"aboveCelsius": 30, "limitPercent": 80}, {"aboveCelsius": 35, "limitPercent": 90}]},
        "rises above",
        ("thermalDerate", 1, "limitPercent"),
    ),
    (
        {"demandCharge": {"targetWatts": 9, "pricePerKilowatt": 1}, "tariff": {"demandPricePerKilowatt": 2}},
        "in one place",
        ("demandCharge", "pricePerKilowatt"),
    ),
    ({"limitWatts": float("nan")}, "finite", ("limitWatts",)),
    ({"tariff": {"pricePerKilowattHour": float("inf")}}, "finite", ("tariff", "pricePerKilowattHour")),
    ({"limitWats": 5}, "not permitted", ("limitWats",)),
]


@pytest.mark.parametrize(("fields", "text", "at"), REFUSED, ids=lambda x: x if isinstance(x, str) else None)
def test_a_budget_that_cannot_be_meant_is_refused_at_its_field(
    fields: dict[str, Any], text: str, at: tuple[str | int, ...]
) -> None:
    said, where = refusal(PowerBudgetSpec, **{"limitWatts": 100, **fields})
    assert text in said
    assert where == at


@pytest.mark.parametrize(
    ("fields", "text", "at"),
    [
        (
            {
                "batchSteps": [
                    {"batchPercent": b, "drawPercent": d, "speedPercent": 50} for b, d in ((50, 70), (60, 60))
                ]
            },
            "60 does not fall below 50",
            ("batchSteps", 1, "batchPercent"),
        ),
        (
            {
                "batchSteps": [
                    {"batchPercent": b, "drawPercent": d, "speedPercent": 50} for b, d in ((50, 70), (25, 70))
                ]
            },
            "70 does not fall below 70",
            ("batchSteps", 1, "drawPercent"),
        ),
        ({"curve": [{"drawPercent": 80, "speedPercent": 90}]}, "at least two", ("curve",)),
        (
            {"curve": [{"drawPercent": 80, "speedPercent": 90}, {"drawPercent": 60, "speedPercent": 95}]},
            "fewer watts cannot be faster",
            ("curve", 1, "speedPercent"),
        ),
        (
            {"variants": [{"name": "s", "drawPercent": d, "speedPercent": 90, "qualityPercent": 90} for d in (50, 40)]},
            "used twice",
            ("variants", 1, "name"),
        ),
    ],
)
def test_a_profile_that_cannot_be_meant_is_refused_at_its_field(
    fields: dict[str, Any], text: str, at: tuple[str | int, ...]
) -> None:
    said, where = refusal(PowerProfileSpec, **fields)
    assert text in said
    assert where == at


def test_a_share_cannot_guarantee_more_than_it_is() -> None:
    said, where = refusal(PowerShareSpec, budget="hall", cluster="east", watts=10, guaranteedWatts=11)
    assert "at most 10" in said
    assert where == ("guaranteedWatts",)


def test_a_share_has_an_envelope_like_the_others() -> None:
    share = PowerShare.model_validate(
        {"metadata": {"name": "east"}, "spec": {"budget": "hall", "cluster": "east", "watts": 10}}
    )
    assert (share.name, share.kind, share.api_version) == ("east", "PowerShare", "wattlease.io/v1alpha1")


def test_what_is_assured_without_a_word_is_the_lowest_limit_written() -> None:
    spec = PowerBudgetSpec.model_validate({"limitWatts": 100, "schedule": [WEEKLY], "demandResponse": [EVENT]})
    assert spec.assured_watts == 50
    assert PowerBudgetSpec(limit_watts=100, guaranteed_watts=30).assured_watts == 30


def test_redundancy_leaves_what_the_smaller_feeds_carry() -> None:
    feeds = [{"name": f"f{i}", "ratedWatts": w} for i, w in enumerate((30, 10, 20))]
    spec = PowerBudgetSpec.model_validate({"limitWatts": 100, "redundancy": {"feeds": feeds, "tolerate": 1}})
    assert spec.redundancy is not None
    assert spec.redundancy.safe_watts == 30


def test_a_resource_survives_json_in_camel_case() -> None:
    whole = PowerBudget.model_validate(
        {"metadata": {"name": "hall"}, "spec": {"limitWatts": 100, "demandResponse": [EVENT], "storage": [BATTERY]}}
    )
    text = whole.model_dump_json(by_alias=True)
    assert '"limitWatts":100' in text
    assert PowerBudget.model_validate_json(text, strict=True) == whole


def test_every_field_of_every_resource_says_what_it_means() -> None:
    silent = []
    for resource in (PowerBudget, PowerProfile, PowerShare):
        schema = resource.model_json_schema()
        parts = [schema, *schema["$defs"].values()]
        silent += [(p["title"], n) for p in parts for n, f in p["properties"].items() if not f.get("description")]
    assert silent == []


def test_the_schemas_say_nothing_that_an_api_server_refuses() -> None:
    for resource in (PowerBudget, PowerProfile, PowerShare):
        text = str(resource.model_json_schema())
        assert "exclusiveM" not in text
        assert "'const'" not in text


# --- trees ---


def test_two_roots_and_their_children_are_a_tree() -> None:
    check_tree([budget("a", 100, None, 50), budget("b"), budget("a1", 80, "a", 25), budget("a2", 80, "a", 25)])


@pytest.mark.parametrize(
    ("budgets", "text"),
    [
        ([budget("hall"), budget("r1", parent="hal")], "PowerBudget r1: spec.parent: .* did you mean 'hall'"),
        ([budget("r1", parent="site")], "no PowerBudget named 'site'"),
        ([budget("r1", parent="r1")], "circle, r1 -> r1"),
        ([budget("a", parent="b"), budget("b", parent="a"), budget("c", parent="a")], "circle, a -> b -> a"),
        ([budget("a"), budget("a")], "is there already"),
        (
            [budget("a", 100, None, 50), budget("b", 90, "a", 30), budget("c", 90, "a", 21)],
            "PowerBudget a: spec.guaranteedWatts: 50 W cannot keep the 51 W",
        ),
    ],
)
def test_a_tree_that_cannot_be_meant_is_refused(budgets: list[PowerBudget], text: str) -> None:
    with pytest.raises(BudgetError, match=text):
        check_tree(budgets)


def test_a_circle_is_told_once_and_who_only_leads_into_it_is_not_blamed() -> None:
    with pytest.raises(BudgetError) as caught:
        check_tree([budget("c", parent="a"), budget("a", parent="b"), budget("b", parent="a")])
    assert len(str(caught.value).splitlines()) == 1


@given(st.lists(st.integers(min_value=-1, max_value=7), min_size=1, max_size=8))
def test_parents_that_come_before_their_children_never_make_a_circle(parents: list[int]) -> None:
    budgets = [budget(f"b{i}", parent=f"b{p}" if 0 <= p < i else None) for i, p in enumerate(parents)]
    check_tree(budgets)
    check_tree(budgets[::-1])
