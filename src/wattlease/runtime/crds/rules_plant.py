"""What must hold in a budget and in the plant that it speaks of."""

from __future__ import annotations

from wattlease.core.api import (
    Breaker,
    DemandCharge,
    DemandResponse,
    Pcs,
    PowerBudgetSpec,
    PowerShareSpec,
    Redundancy,
    ScheduleEntry,
    StorageSpec,
    TariffPeriod,
)
from wattlease.core.api_base import Part
from wattlease.core.api_storage import CONTROL_MODELS
from wattlease.runtime.crds.rule import Rule, strictly, weakly

_WINDOW = (
    Rule("start", "self.start != '24:00'", "24:00 is no start; write 00:00 and the next day"),
    Rule(
        "end",
        "self.start != self.end",
        "{self.end} is also the start, so nothing is between; for a whole day write 00:00 to 24:00",
    ),
)


def _keeps(limit: str, where: str) -> str:
    return f"{{self.guaranteedWatts}} is above {where} of {{{limit}}} W; write at most {{{limit}}}"


def _guarantee(limit: str, where: str, *given: str) -> Rule:
    """The guarantee is not above a limit, where the conditions hold under which there is one."""
    terms = [
        "!has(self.guaranteedWatts)",
        *(f"!{condition}" for condition in given),
        f"self.guaranteedWatts <= {limit}",
    ]
    return Rule("guaranteedWatts", " || ".join(terms), _keeps(limit, where))


def _guarantee_of_each(items: str) -> Rule:
    """The guarantee is not above any limit of a list."""
    limits = f"self.{items}.map(e, e.limitWatts)"
    holds = f"!has(self.guaranteedWatts) || !has(self.{items}) || {limits}.all(w, self.guaranteedWatts <= w)"
    return Rule("guaranteedWatts", holds, _keeps(f"{limits}.min()", f"the lowest limitWatts of {items}"))


_FEEDS = "self.redundancy.feeds"
# rank by watts and then by name, which is unique: as many stay as are left when the largest `tolerate` are lost
_FEEDS_BELOW = f"{_FEEDS}.filter(g, g.ratedWatts < f.ratedWatts || (g.ratedWatts == f.ratedWatts && g.name < f.name))"
_FEEDS_LEFT = f"{_FEEDS}.filter(f, {_FEEDS_BELOW}.size() < {_FEEDS}.size() - self.redundancy.tolerate)"
_HOTTEST = "self.thermalDerate[self.thermalDerate.size() - 1].limitPercent"
_DERATED = f"int(double(self.limitWatts) * {_HOTTEST} / 100.0)"

_OPT_OUT = "self.gridEvents.optOutBelowWatts"

_GUARANTEE = (
    _guarantee("self.limitWatts", "limitWatts"),
    _guarantee_of_each("schedule"),
    _guarantee_of_each("demandResponse"),
    _guarantee(_OPT_OUT, "gridEvents.optOutBelowWatts", "has(self.gridEvents)", f"has({_OPT_OUT})"),
    _guarantee("self.breaker.ratedWatts", "the breaker's ratedWatts", "has(self.breaker)"),
    _guarantee(f"{_FEEDS_LEFT}.map(f, f.ratedWatts).sum()", "what redundancy leaves", "has(self.redundancy)"),
    _guarantee(_DERATED, "the hottest thermalDerate", "has(self.thermalDerate)", "(self.thermalDerate.size() > 0)"),
)

_BUDGET = (
    *_GUARANTEE,
    strictly("rises", "thermalDerate", "aboveCelsius", "aboveCelsius must rise; sort the steps by temperature"),
    weakly("falls", "thermalDerate", "limitPercent", "limitPercent rises above a cooler step's; write at most that"),
    Rule(
        "gridEvents.optOutBelowWatts",
        "!has(self.gridEvents) || has(self.gridEvents.optOutBelowWatts) || has(self.guaranteedWatts)",
        "is missing, and guaranteedWatts too, so that every event would be refused; write the deepest taken",
    ),
    Rule(
        "demandCharge.pricePerKilowatt",
        "!has(self.demandCharge) || self.demandCharge.pricePerKilowatt == 0.0"
        " || self.tariff.demandPricePerKilowatt == 0.0",
        "the demand price is said in tariff.demandPricePerKilowatt too; write it in one place",
    ),
)

_MODELS = " and ".join(str(m) for m in CONTROL_MODELS)

PLANT: dict[type[Part], tuple[Rule, ...]] = {
    PowerBudgetSpec: _BUDGET,
    ScheduleEntry: _WINDOW,
    TariffPeriod: _WINDOW,
    DemandResponse: (
        Rule("end", "self.end > self.start", "{self.end} is not after the start {self.start}; write a later time"),
        Rule(
            "rampSeconds",
            "self.end <= self.start || self.rampSeconds <= (self.end - self.start).getSeconds()",
            "{self.rampSeconds} is longer than the event; write a shorter ramp",
        ),
    ),
    DemandCharge: (
        Rule(
            "offsetSeconds",
            "self.offsetSeconds < self.windowSeconds",
            "{self.offsetSeconds} is a window or more; write at most {self.windowSeconds - 1}",
        ),
    ),
    Breaker: (
        strictly("rises", "tripCurve", "overPercent", "overPercent must rise; sort the points by overload"),
        strictly("falls", "tripCurve", "seconds", "seconds must fall; a larger overload trips sooner"),
    ),
    Redundancy: (
        Rule(
            "tolerate",
            "self.tolerate < self.feeds.size()",
            "{self.tolerate} of {self.feeds.size()} feeds leaves none; write at most {self.feeds.size() - 1}",
        ),
    ),
    StorageSpec: (
        Rule(
            "reservePercent",
            "self.reservePercent + self.fadePercent < 100.0",
            "{self.reservePercent} and fadePercent {self.fadePercent} leave nothing to use; lower one",
        ),
    ),
    Pcs: (
        Rule(
            "models",
            f"!has(self.models) || self.models.size() == 0 || self.models.exists(m, m in {list(CONTROL_MODELS)})",
            f"none of {_MODELS} is among them, so nothing could be ordered; add one",
        ),
        Rule(
            "heartbeatSeconds",
            "2 * self.heartbeatSeconds <= self.reversionSeconds",
            "{self.heartbeatSeconds} is more than half of reversionSeconds {self.reversionSeconds}, so orders would "
            "lapse; lower it",
        ),
    ),
    PowerShareSpec: (_guarantee("self.watts", "watts"),),
}
