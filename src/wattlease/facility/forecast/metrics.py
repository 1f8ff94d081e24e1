"""What a scrape sees of the forecasts: what they were worth when last judged, at four horizons of each scope."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from wattlease.facility.forecast.standing import HorizonStanding, Standing

SHOWN_S = (300.0, 900.0, 3600.0, 86_400.0)
LABELS = ["scope", "ahead_seconds"]


class ForecastMetrics(Collector):
    """Reads the newest standing of each scope at each scrape."""

    def __init__(self, standing: Callable[[], Mapping[str, Standing]]) -> None:
        self._standing = standing

    def collect(self) -> Iterator[Metric]:
        """Yield a gauge for each figure; a horizon that no model serves is left out."""
        skill = _family("skill_ratio", "Part of the pinball loss of the best naive forecast that was saved.")
        learned = _family("learned", "1 where a learned model is in force, 0 where a naive one is.")
        under = _family("under_p90_ratio", "How often the draw stayed under the p90.")
        trained = GaugeMetricFamily(
            "wattlease_forecast_trained_timestamp_seconds", "The end of what was learned from.", labels=["scope"]
        )
        for scope, standing in self._standing().items():
            for horizon in _shown(standing):
                labels = [scope, f"{horizon.ahead_s:.0f}"]
                learned.add_metric(labels, float(horizon.learned))
                if horizon.judged:
                    skill.add_metric(labels, horizon.skill)
                    under.add_metric(labels, horizon.under_p90_frac)
            if standing.trained_until_s is not None:
                trained.add_metric([scope], standing.trained_until_s)
        yield from (skill, learned, under, trained)


def _family(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"wattlease_forecast_{name}", text, labels=LABELS)


def _shown(standing: Standing) -> list[HorizonStanding]:
    """One horizon for each of SHOWN_S that is served; of two models for the same, the one that is used."""
    found: dict[float, HorizonStanding] = {}
    for horizon in standing.horizons:
        found.setdefault(horizon.ahead_s, horizon)
    return [found[ahead_s] for ahead_s in SHOWN_S if ahead_s in found]
