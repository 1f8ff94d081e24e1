"""Clusters lease their watts from a facility: when it dies, or cannot be reached, they fall to what is guaranteed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from fault_shares import GUARANTEED_W, LEASE_S, LIMIT_W, Campus, needs_facility
from fault_site import Libraries, until

pytestmark = [pytest.mark.timeout(600), needs_facility]


@pytest.fixture(scope="module")
def campus(libraries: Libraries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campus]:
    found = Campus(tmp_path_factory.mktemp("campus"), libraries)
    found.start()
    yield found
    found.end()


def test_watts_go_to_the_cluster_that_has_work_and_never_pass_the_limit(campus: Campus) -> None:
    with campus.under_limit():
        campus.lends_to(0)
        campus.lends_to(1)
        assert campus.clusters[0].watts_w() < LIMIT_W / 2


def test_a_facility_that_is_killed_leaves_clusters_at_what_they_are_guaranteed(campus: Campus) -> None:
    with campus.under_limit():
        campus.lends_to(0)
        campus.facility.kill()
        took_s = campus.falls_back(0, 1, patience_s=LEASE_S)
        assert took_s <= LEASE_S
        time.sleep(2.0)
        assert all(cluster.watts_w() <= GUARANTEED_W + 1.0 for cluster in campus.clusters)
        campus.facility.start()
        campus.lends_to(1)


def test_a_share_that_cannot_be_renewed_falls_back_and_its_watts_go_to_the_other_cluster(campus: Campus) -> None:
    with campus.under_limit():
        campus.lends_to(0)
        campus.clusters[0].link.cut()
        campus.falls_back(0, patience_s=LEASE_S)
        campus.lends_to(1)
        campus.clusters[0].link.heal()
        campus.lends_to(0)


def test_a_controller_that_is_killed_is_followed_by_the_next_one_under_the_same_share(campus: Campus) -> None:
    with campus.under_limit():
        campus.lends_to(0)
        campus.clusters[0].controller.kill()
        campus.falls_back(0, patience_s=LEASE_S)
        campus.clusters[0].controller.start()
        campus.lends_to(0)


def test_a_dead_agents_watts_stay_counted_when_its_cluster_returns_its_share(campus: Campus) -> None:
    """Its caps stay as they are: what it holds above its fallback is lent to nobody, in no cluster."""
    with campus.under_limit():
        campus.lends_to(0)
        dead = campus.clusters[0].agents[0]
        dead.kill()
        held_w = campus.clusters[0].watts_w()
        campus.work(1)
        until(lambda: campus.clusters[0].watts_w() < held_w - 1000.0, 25.0, "the living node returns what it has")
        time.sleep(1.5 * LEASE_S)
        campus.clusters[0].controller.kill()
        time.sleep(2.0 * LEASE_S)
        campus.clusters[0].controller.start()
        dead.start()
        campus.lends_to(1)
