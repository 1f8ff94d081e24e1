"""Metrics, health and readiness of an agent, for whoever is on this node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from wattlease.agent.standing import Standing
from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.lease.service import listening

if TYPE_CHECKING:
    from wattlease.agent.agent import Agent

RETRY_S = 10.0

log = logging.getLogger(__name__)


async def show(agent: Agent, listen: str) -> None:
    """Listen until cancelled; an address that cannot be had is tried again, and keeps nothing else from running."""
    host, _, port = listen.rpartition(":")
    while True:
        try:
            async with listening(metrics_app(agent), host.strip("[]"), int(port)) as address:
                log.info("listening at %s", address)
                await asyncio.Event().wait()
        except OSError as error:
            log.warning("listen=%s %s; metrics are not shown", listen, error.strerror or error)
        await asyncio.sleep(RETRY_S)


def metrics_app(agent: Agent) -> web.Application:
    """Build the application."""
    registry = CollectorRegistry()
    registry.register(AgentMetrics(agent))
    ProcessCollector(registry=registry)

    async def show_health(_request: web.Request) -> web.Response:
        return _told(agent.keeper.why_dead() if agent.keeper else "", "ok")

    async def show_readiness(_request: web.Request) -> web.Response:
        return _told(agent.why_unready(), "ready")

    async def show_metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", show_health)
    app.router.add_get("/readyz", show_readiness)
    app.router.add_get("/metrics", show_metrics)
    return app


class AgentMetrics(Collector):
    """Reads the agent at each scrape; no card is asked for it."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def collect(self) -> Iterator[Metric]:
        """Yield the cards', the node's and the lease's."""
        yield from _of_cards(self._agent.hands.standings)
        yield from self._of_node()
        yield from self._of_counts()

    def _of_node(self) -> Iterator[Metric]:
        agent, client = self._agent, self._agent.client
        outcome = agent.keeper.outcome if agent.keeper else None
        yield _gauge(
            "wattlease_node_in_force_watts", "The most the node may draw by its limits.", agent.hands.in_force_w
        )
        yield _gauge("wattlease_node_blind", "Whether the driver has not told its cards.", agent.hands.blind)
        yield _gauge("wattlease_node_ready", "Whether it is within its lease.", not agent.why_unready())
        power = GaugeMetricFamily("wattlease_node_power_watts", "The node's draw by its own meters.", labels=["source"])
        for told in agent.meters.latest():
            power.add_metric([told.source], told.power_w)
        yield power
        if client is not None:
            left_s = max(0.0, client.holder.expires_s - steady_s())
            yield _gauge("wattlease_node_allowed_watts", "The most it may draw now.", client.allowed_w())
            yield _gauge("wattlease_node_fallback_watts", "What it may draw ungranted.", client.holder.fallback_w)
            yield _gauge("wattlease_grant_seconds_left", "How long the grant still lasts.", left_s)
        if outcome is not None:
            yield _gauge("wattlease_node_shortfall_watts", "By what the cards cannot give more.", outcome.shortfall_w)
            yield _gauge("wattlease_guard_off_watts", "What the guard has taken off.", outcome.off_w)

    def _of_counts(self) -> Iterator[Metric]:
        client, counts = self._agent.client, self._agent.hands.counts
        yield CounterMetricFamily("wattlease_adjusted_limits", "Limits taken at another value.", counts.adjusted)
        yield CounterMetricFamily("wattlease_limit_refusals", "Limits refused by the driver.", counts.refusals)
        yield CounterMetricFamily("wattlease_driver_reloads", "Drivers loaded anew.", counts.reloads)
        yield CounterMetricFamily("wattlease_guard_cuts", "Cuts by the guard.", counts.guard_cuts)
        yield CounterMetricFamily("wattlease_renewals", "Renewals answered.", client.renewals if client else 0)
        yield CounterMetricFamily("wattlease_renewal_failures", "Those that failed.", client.failures if client else 0)


def _of_cards(standings: Iterable[Standing]) -> Iterator[Metric]:
    power = GaugeMetricFamily("wattlease_gpu_power_watts", "Draw as last read.", labels=["gpu"])
    limit = GaugeMetricFamily("wattlease_gpu_limit_watts", "The highest limit it may have.", labels=["gpu"])
    answers = GaugeMetricFamily("wattlease_gpu_answers", "Whether the last call was answered.", labels=["gpu"])
    foreign = CounterMetricFamily("wattlease_foreign_writes", "Limits that someone else set.", labels=["gpu"])
    foreign_w = GaugeMetricFamily(
        "wattlease_foreign_limit_watts", "The last limit that someone else set.", labels=["gpu"]
    )
    for standing in standings:
        gpu, reading = [standing.card.uuid], standing.reading
        limit.add_metric(gpu, standing.most_w)
        answers.add_metric(gpu, standing.answers)
        foreign.add_metric(gpu, standing.foreign_writes)
        if standing.foreign_w is not None:
            foreign_w.add_metric(gpu, standing.foreign_w)
        if reading and reading.power_w is not None and standing.answers:
            power.add_metric(gpu, reading.power_w)
    yield from (power, limit, answers, foreign, foreign_w)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value)


def _told(trouble: str, well: str) -> web.Response:
    return web.Response(status=503 if trouble else 200, text=f"{trouble or well}\n")
