"""Every rule that a model's validators check across fields, said again in CEL.

A validator of a model that has no rule here would let an API server take what Wattlease then refuses: the tests build
each part at random and want one verdict from both. What no rule can say: whether a time zone's name is known, and what
holds between resources (parents, and the sums of what children are guaranteed); the operator's conditions tell those.
"""

from __future__ import annotations

from wattlease.core.api import PowerProfileSpec
from wattlease.core.api_base import Part
from wattlease.runtime.crds.rule import Rule, strictly, weakly
from wattlease.runtime.crds.rules_plant import PLANT
from wattlease.runtime.crds.rules_reach import REACH

_SORT = "sort with the largest first"

_PROFILE = (
    strictly("falls", "batchSteps", "batchPercent", f"batchPercent must fall; {_SORT}"),
    strictly("falls", "batchSteps", "drawPercent", f"drawPercent must fall; {_SORT}"),
    strictly("falls", "variants", "drawPercent", f"drawPercent must fall; {_SORT}"),
    Rule(
        "curve",
        "!has(self.curve) || self.curve.size() != 1",
        "one point is no curve; write at least two, highest draw first",
    ),
    strictly("falls", "curve", "drawPercent", f"drawPercent must fall; {_SORT}"),
    weakly("falls", "curve", "speedPercent", "speedPercent rises; fewer watts cannot be faster"),
)

_SERVED = "!has(self.swap) || !has(self.variants) || self.variants.all(v, !has(v.serving) || "
_TWO_SERVICES = "two models have one Service; give each a Service of its own"
_TWO_DEPLOYMENTS = "two models have one Deployment; to scale it would end both, write sleep: Sleep"
_SWAP = (
    Rule(
        "variants",
        "has(self.swap) || !has(self.variants) || !self.variants.exists(v, has(v.serving))",
        "serving goes with swap; name the route and the own model there",
    ),
    Rule(
        "swap",
        "!has(self.swap) || (has(self.variants) && self.variants.size() > 0)",
        "there is nothing to swap to; add variants, each with its serving",
    ),
    Rule(
        "variants",
        "!has(self.swap) || !has(self.variants) || self.variants.all(v, has(v.serving))",
        "serving is missing; with swap each variant says where it is served",
    ),
    Rule("variants", f"{_SERVED}v.serving.service != self.swap.own.service)", _TWO_SERVICES),
    Rule(
        "variants",
        f"{_SERVED}"
        "self.variants.all(w, w.name == v.name || !has(w.serving) || w.serving.service != v.serving.service))",
        _TWO_SERVICES,
    ),
    Rule(
        "variants",
        f"{_SERVED}v.serving.deployment != self.swap.own.deployment || "
        "(v.serving.sleep == 'Sleep' && self.swap.own.sleep == 'Sleep'))",
        _TWO_DEPLOYMENTS,
    ),
    Rule(
        "variants",
        f"{_SERVED}v.serving.sleep == 'Sleep' || "
        "self.variants.all(w, w.name == v.name || !has(w.serving) || w.serving.deployment != v.serving.deployment))",
        _TWO_DEPLOYMENTS,
    ),
)

RULES: dict[type[Part], tuple[Rule, ...]] = {**PLANT, **REACH, PowerProfileSpec: (*_PROFILE, *_SWAP)}
