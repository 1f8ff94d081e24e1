"""What a scrape sees of a grantor: sums and counts, nothing for each node."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from wattlease.core.lease import Ledger
from wattlease.runtime.lease.grantor import Grantor
from wattlease.runtime.lease.refusals import Refusals


class LeaseMetrics(Collector):
    """Reads the grantor at each scrape, so that nothing is counted between scrapes."""

    def __init__(self, grantor: Grantor, refusals: Refusals) -> None:
        self._grantor, self._refusals = grantor, refusals

    def collect(self) -> Iterator[Metric]:
        """Yield the counters always, the ledger's gauges while there is one."""
        grantor, ledger = self._grantor, self._grantor.ledger
        yield CounterMetricFamily("wattlease_lease_renewals", "Renewals that were heard.", grantor.renewals)
        refused = CounterMetricFamily("wattlease_lease_refusals", "Calls turned away.", labels=["status"])
        for status, count in self._refusals.count.items():
            refused.add_metric([str(status)], count)
        yield refused
        yield _gauge("wattlease_lease_leads", "Whether this grantor may answer.", grantor.leads())
        yield _gauge("wattlease_lease_waiting_polls", "Requests that wait for news.", len(grantor.polls))
        yield _gauge("wattlease_lease_ttl_seconds", "How long a grant lasts.", grantor.terms.ttl_s)
        yield _gauge("wattlease_lease_guaranteed_watts", "What fallbacks must fit in.", grantor.terms.guaranteed_w)
        if ledger is not None:
            yield from _of_ledger(grantor, ledger)


def _of_ledger(grantor: Grantor, ledger: Ledger) -> Iterator[Metric]:
    now_s = grantor.now()
    yield _gauge("wattlease_committed_watts", "The most that all may be drawing.", ledger.committed_w(now_s))
    yield _gauge("wattlease_lease_limit_watts", "The limit that grants are cut from.", ledger.limit_now_w(now_s))
    short_w = ledger.fallback_shortfall_w()
    yield _gauge("wattlease_lease_fallback_shortfall_watts", "By how much fallbacks do not fit.", short_w)
    yield _gauge("wattlease_lease_members", "Who may hold a part of the limit.", len(ledger.accounts))
    yield _gauge("wattlease_lease_silent_members", "Members with no running grant.", len(ledger.silent(now_s)))
    yield _gauge("wattlease_lease_epoch", "The epoch of this leadership.", ledger.epoch)
    yield _gauge("wattlease_lease_plan_age_seconds", "Since the newest plan.", now_s - grantor.planned_s)
    unsaved = ledger.revision > ledger.saved_revision
    yield _gauge("wattlease_lease_roster_unsaved", "Whether the disk lacks a change of the members.", unsaved)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value)
