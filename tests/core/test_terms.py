"""From an owner's percents to the fractions that the core counts with."""

from __future__ import annotations

from itertools import pairwise

from wattlease.core.api import Metadata, PowerProfile, PowerProfileSpec
from wattlease.core.curves import GRID
from wattlease.core.model import Step, Terms, Variant
from wattlease.core.terms import terms_of


def test_terms_are_the_profile_in_fractions() -> None:
    profile = PowerProfile.model_validate(
        {
            "metadata": {"name": "chat"},
            "spec": {
                "kind": "Inference",
                "maxSlowdownPercent": 10,
                "pausable": False,
                "batchSteps": [{"batchPercent": 50, "drawPercent": 80, "speedPercent": 60}],
                "variants": [{"name": "small", "drawPercent": 40, "speedPercent": 120, "qualityPercent": 93}],
            },
        }
    )
    terms = terms_of(profile)
    assert (terms.name, terms.kind, terms.pausable, terms.max_slowdown_frac) == ("chat", "Inference", False, 0.1)
    assert terms.steps == (Step(0.5, 0.8, 0.6),)
    assert terms.variants == (Variant("small", 0.4, 1.2, 0.93, 60.0),)
    assert terms.speed_frac is None


def test_an_empty_profile_means_the_terms_that_the_core_assumes() -> None:
    assert terms_of(PowerProfile(metadata=Metadata(name="x"), spec=PowerProfileSpec())) == Terms("x")


def test_an_owners_sweep_becomes_a_curve_that_runs_through_it() -> None:
    points = [{"drawPercent": d, "speedPercent": s} for d, s in ((100, 100), (80, 95), (60, 80), (50, 65))]
    profile = PowerProfile.model_validate({"metadata": {"name": "x"}, "spec": {"curve": points}})
    curve = terms_of(profile).speed_frac
    assert curve is not None
    assert len(curve) == len(GRID)
    assert all(0.0 <= a <= b + 1e-9 <= 1.0 + 2e-9 for a, b in pairwise(curve))
