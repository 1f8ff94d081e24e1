"""Client certificates on real TLS: who gets in, who does not, and what happens when one ends or is renewed."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from wattlease.core.lease import Refused
from wattlease.runtime import pki
from wattlease.runtime.lease.grantors import Grantors
from wattlease.runtime.lease.identity_certificate import ClientCertificates
from wattlease.runtime.lease.report import Reply
from wattlease.runtime.lease.service import LeaseService, serving
from wattlease.runtime.lease.tls import ServerTls, TlsFiles

SECOND_DAYS = 1.0 / 86_400.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An authority, its grantor on 127.0.0.1, and nodes n1 and n2."""
    folder = tmp_path_factory.mktemp("pki")
    pki.found(folder)
    pki.issue_grantor(folder, "g1", 30, ["127.0.0.1"])
    for name in ("n1", "n2"):
        pki.issue_holder(folder, name, 30)
    return folder


def grantor_tls(site: Path) -> ServerTls:
    return ServerTls(TlsFiles(site / "ca.crt", site / "grantors" / "g1.crt", site / "grantors" / "g1.key"))


def node_files(site: Path, name: str, shelf: str = "nodes", trusting: Path | None = None) -> TlsFiles:
    return TlsFiles((trusting or site) / "ca.crt", site / shelf / f"{name}.crt", site / shelf / f"{name}.key")


async def call(address: str, files: TlsFiles, node: Any) -> Reply | Refused:
    grantors = Grantors([address], files)
    try:
        return await grantors.call(node.renewal())
    finally:
        await grantors.close()


@pytest.fixture
async def address(hall: Any, site: Path) -> Any:
    await hall.lead()
    hall.plan()
    async with hall.serving(ClientCertificates(), grantor_tls(site)) as (_, bound):
        yield bound


async def test_a_node_is_known_by_its_certificate(address: str, site: Path, node_of: Any) -> None:
    assert address.startswith("https://127.0.0.1:")
    assert isinstance(await call(address, node_files(site, "n1"), node_of("n1")), Reply)


async def test_a_node_speaks_only_for_itself(address: str, site: Path, node_of: Any) -> None:
    refused = await call(address, node_files(site, "n2"), node_of("n1"))
    assert isinstance(refused, Refused)
    assert " 403: " in refused.reason


async def test_a_certificate_of_another_authority_is_refused(
    hall: Any, address: str, site: Path, tmp_path: Path, node_of: Any
) -> None:
    foreign = tmp_path / "foreign"
    pki.found(foreign)
    pki.issue_holder(foreign, "n1", 30)
    assert isinstance(await call(address, node_files(foreign, "n1", trusting=site), node_of("n1")), Refused)
    assert hall.grantor.renewals == 0


async def test_a_holder_trusts_no_grantor_of_another_authority(
    address: str, site: Path, tmp_path: Path, node_of: Any
) -> None:
    foreign = tmp_path / "foreign"
    pki.found(foreign)
    refused = await call(address, node_files(site, "n1", trusting=foreign), node_of("n1"))
    assert isinstance(refused, Refused)
    assert "certificate verify failed" in refused.reason.lower()


async def test_no_certificate_no_answer(address: str, site: Path, node_of: Any) -> None:
    assert isinstance(await call(address, TlsFiles(site / "ca.crt"), node_of("n1")), Refused)


async def test_a_grantors_certificate_speaks_for_no_node(address: str, site: Path, node_of: Any) -> None:
    refused = await call(address, node_files(site, "g1", shelf="grantors"), node_of("g1"))
    assert isinstance(refused, Refused)


async def test_a_nodes_certificate_makes_no_grantor(hall: Any, site: Path, node_of: Any) -> None:
    files = TlsFiles(site / "ca.crt", site / "nodes" / "n1.crt", site / "nodes" / "n1.key")
    async with hall.serving(ClientCertificates(), ServerTls(files)) as (_, address):
        refused = await call(address, node_files(site, "n2"), node_of("n2"))
    assert isinstance(refused, Refused)
    assert "unsuitable certificate purpose" in refused.reason.lower()


async def test_a_clusters_certificate_speaks_for_no_node(address: str, site: Path, node_of: Any) -> None:
    pki.issue_holder(site, "n1", 30, kind="cluster")
    refused = await call(address, node_files(site, "n1", shelf="clusters"), node_of("n1"))
    assert isinstance(refused, Refused)
    assert " 401: " in refused.reason


async def test_an_expired_certificate_is_refused_even_on_a_connection_that_it_opened(
    hall: Any, address: str, site: Path, node_of: Any, tmp_path: Path
) -> None:
    shutil.copytree(site, tmp_path / "site")
    pki.issue_holder(tmp_path / "site", "n1", 2 * SECOND_DAYS, renew=True)
    ends_s = time.time() + 2.0
    files, node = node_files(tmp_path / "site", "n1"), node_of("n1")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=files.client_context())) as session:
        headers = {"Content-Type": "application/json"}
        await node.post(session, address, headers)
        await asyncio.sleep(max(0.0, ends_s - time.time()) + 0.1)
        body = node.renewal().model_dump_json()
        async with session.post(f"{address}/v1/lease", data=body, headers=headers) as response:
            assert response.status == 401
            assert "expired" in await response.text()
    assert isinstance(await call(address, files, node), Refused)
    assert hall.grantor.renewals == 1


async def test_certificates_renewed_on_disk_count_without_a_restart(
    hall: Any, site: Path, tmp_path: Path, node_of: Any
) -> None:
    """The whole authority is changed under a running server and a running client."""
    here, node = tmp_path / "site", node_of("n1")
    shutil.copytree(site, here)
    await hall.lead()
    hall.plan()
    tls, known_by = grantor_tls(here), ClientCertificates()
    service = LeaseService(hall.grantor, known_by)
    async with serving(service, known_by, "127.0.0.1", 0, tls) as address:
        grantors, old = Grantors([address], node_files(here, "n1")), Grantors([address], node_files(site, "n1"))
        assert isinstance(await grantors.call(node.renewal()), Reply)
        _found_anew(here)
        assert tls.refresh()
        assert isinstance(await grantors.call(node.renewal()), Reply)
        assert isinstance(await old.call(node.renewal()), Refused), "the old authority vouches for nobody now"
        (here / "grantors" / "g1.crt").write_text("half of a certi")
        assert not tls.refresh()
        assert isinstance(await grantors.call(node.renewal()), Reply), "the last good one holds"
        await grantors.close()
        await old.close()


def _found_anew(site: Path) -> None:
    (site / "ca.crt").unlink()
    (site / "ca.key").unlink()
    pki.found(site)
    pki.issue_grantor(site, "g1", 30, ["127.0.0.1"], renew=True)
    pki.issue_holder(site, "n1", 30, renew=True)


async def test_certificates_want_tls(hall: Any) -> None:
    known_by = ClientCertificates()
    with pytest.raises(ValueError, match="want TLS"):
        async with serving(LeaseService(hall.grantor, known_by), known_by, "127.0.0.1", 0):
            pass
