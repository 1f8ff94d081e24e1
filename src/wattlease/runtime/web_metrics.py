"""What a scrape sees of the page's document: a handful of gauges, one label of six values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from wattlease.runtime.view import JobState, SiteView


def gather(newest: Callable[[], SiteView | None], beside: CollectorRegistry | None) -> CollectorRegistry:
    """Make the registry of one server: the newest document's gauges, and those of `beside` where it is given."""
    registry = CollectorRegistry()
    registry.register(_ViewMetrics(newest))
    if beside is not None:
        registry.register(_Beside(beside))
    return registry


class _ViewMetrics(Collector):
    """Reads the newest document at each scrape, so that nothing is counted between scrapes."""

    def __init__(self, newest: Callable[[], SiteView | None]) -> None:
        self._newest = newest

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges whose numbers are known; none before the first document."""
        view = self._newest()
        if view is None:
            return
        yield GaugeMetricFamily("wattlease_limit_watts", "The limit that binds now.", view.limit_w)
        if view.draw_w is not None:
            yield GaugeMetricFamily("wattlease_draw_watts", "What counts against the limit.", view.draw_w)
        if view.headroom_w is not None:
            yield GaugeMetricFamily("wattlease_headroom_watts", "Limit less draw.", view.headroom_w)
        if view.storage is not None:
            charge = view.storage.soc_frac
            yield GaugeMetricFamily("wattlease_storage_charge_ratio", "How full the battery is, 0 to 1.", charge)
        yield _jobs(view)


class _Beside(Collector):
    """Shows another registry's metrics without taking it over, so that one may be served twice."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Yield what the other registry holds."""
        yield from self._registry.collect()


def _jobs(view: SiteView) -> Metric:
    jobs = GaugeMetricFamily("wattlease_jobs", "Jobs by what is done to them.", labels=["state"])
    counts = Counter(job.state for job in view.jobs)
    for state in get_args(JobState):
        jobs.add_metric([state], counts[state])
    return jobs
