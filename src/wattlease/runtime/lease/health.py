"""Health, readiness and metrics of a grantor, on a port of their own: a probe has no client certificate."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from wattlease.runtime.lease.grantor import Grantor
from wattlease.runtime.lease.refusals import Refusals
from wattlease.runtime.lease.service_metrics import LeaseMetrics


def health_app(grantor: Grantor, refusals: Refusals, registry: CollectorRegistry | None = None) -> web.Application:
    """Build the application; metrics of `registry` are shown with the grantor's."""
    shown = registry or CollectorRegistry()
    shown.register(LeaseMetrics(grantor, refusals))

    async def show_health(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def show_readiness(_request: web.Request) -> web.Response:
        unready = why_unready(grantor)
        return web.Response(status=503, text=f"not ready: {unready}\n") if unready else web.Response(text="ready\n")

    async def show_metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(shown), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", show_health)
    app.router.add_get("/readyz", show_readiness)
    app.router.add_get("/metrics", show_metrics)
    return app


def why_unready(grantor: Grantor) -> str:
    """Why it grants nothing now; empty if it does."""
    if not grantor.leads():
        return "another grantor leads, or none does yet"
    if not grantor.plans(grantor.now()):
        return f"the newest plan is older than {grantor.terms.plan_lasts_s:g} s, or there is none"
    return ""
