"""A facility in this process that leases one cluster its watts, over TLS both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from wattlease.facility.shares.facility import Facility
from wattlease.facility.shares.settings import FacilitySettings
from wattlease.runtime import pki
from wattlease.runtime.lease.identity_certificate import ClientCertificates
from wattlease.runtime.lease.leadership import Term
from wattlease.runtime.lease.service import LeaseService, serving
from wattlease.runtime.lease.store import StateFolder
from wattlease.runtime.lease.tls import ServerTls, TlsFiles

LEASE_S = 4.0


@asynccontextmanager
async def leasing(folder: Path, cluster: str, limit_w: int, guaranteed_w: int) -> AsyncIterator[dict[str, Any]]:
    """The facility leads while the block runs; what is yielded is the cluster's `share`."""
    pki.found(folder / "pki")
    pki.issue_grantor(folder / "pki", "facility", 30, ["127.0.0.1"])
    pki.issue_holder(folder / "pki", cluster, 30, kind="cluster")
    state = folder / "facility"
    state.mkdir()
    facility = Facility(_settings(state, cluster, limit_w, guaranteed_w), StateFolder(state), None)
    assert await facility.grantor.begin(Term(1, facility.grantor.now() + 1e6)) is None
    identity = ClientCertificates("cluster")
    files = TlsFiles(*(Path(path) for path in _tls(folder / "pki", "grantors", "facility").values()))
    async with serving(LeaseService(facility.grantor, identity), identity, "127.0.0.1", 0, ServerTls(files)) as address:
        loop = asyncio.create_task(facility.run())
        try:
            yield {"cluster": cluster, "grantors": [address], **_tls(folder / "pki", "clusters", cluster)}
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)


def _settings(state: Path, cluster: str, limit_w: int, guaranteed_w: int) -> FacilitySettings:
    budget = {"limitWatts": limit_w, "guaranteedWatts": guaranteed_w, "band": {"marginPercent": 0}}
    share = {"budget": "campus", "cluster": cluster, "watts": limit_w, "guaranteedWatts": guaranteed_w}
    written = {
        "name": "campus",
        "budgets": [{"metadata": {"name": "campus"}, "spec": budget}],
        "shares": [{"metadata": {"name": cluster}, "spec": share}],
        "listen": {"port": 0, "secretFile": "unused"},
        "stateFolder": str(state),
        "grantSeconds": LEASE_S,
    }
    return FacilitySettings.model_validate(written)


def _tls(folder: Path, shelf: str, name: str) -> dict[str, str]:
    own = folder / shelf / name
    return {"authority": str(folder / "ca.crt"), "certificate": f"{own}.crt", "key": f"{own}.key"}
