"""The facility dies while its battery carries a part of the load and the grid asks for less."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pymodbus", reason="pymodbus is not installed: pip install wattlease[facility]")

from fault_battery import GIVES_W, REVERSION_S, FeedAndBattery
from fault_shares import GUARANTEED_W, LEASE_S, LIMIT_W, START_S, Campus, needs_facility
from fault_site import Libraries, until

pytestmark = [pytest.mark.timeout(600), needs_facility]

EVENT_W = 13_000
"""Above what is guaranteed, far below what is drawn."""

NOTICE_S = 12.0
"""Long enough for the file to be taken up and the cut to be under way when the event begins."""


@pytest.fixture
def around() -> Iterator[FeedAndBattery]:
    found = FeedAndBattery()
    found.start()
    yield found
    found.end()


@pytest.fixture
def campus(libraries: Libraries, tmp_path: Path, around: FeedAndBattery) -> Iterator[Campus]:
    found = Campus(tmp_path, libraries, around.spec(), around.gives_w)
    around.load_w = lambda: sum(cluster.draw_w() for cluster in found.clusters)
    found.start()
    yield found
    found.end()


def test_the_facility_killed_as_an_event_begins_leaves_the_battery_idle_and_clusters_at_what_is_guaranteed(
    campus: Campus, around: FeedAndBattery
) -> None:
    campus.work(0, 1)
    until(lambda: around.battery.power_w > 0.9 * GIVES_W, START_S, "the battery gives")
    until(lambda: _allowed_w(campus) > LIMIT_W + 0.5 * GIVES_W, START_S, "what it gives is lent")
    with campus.under_limit():
        begins_s = campus.announce(EVENT_W, NOTICE_S)
        until(lambda: time.monotonic() >= begins_s, 2 * NOTICE_S, "the event begins")
        assert around.battery.power_w > 0.9 * GIVES_W, "it is the worst moment"
        campus.facility.kill()
        campus.falls_back(0, 1, patience_s=LEASE_S)
        assert around.battery.power_w > 0.9 * GIVES_W, "it outlasts the leases that were lent on it"
        until(lambda: around.battery.power_w == 0.0, REVERSION_S + 1.0, "its own timer ends what was ordered")
        time.sleep(3.0)
        assert _allowed_w(campus) <= 2 * GUARANTEED_W + 1.0
        assert all(feed_w <= EVENT_W for at_s, feed_w in around.seen if at_s > begins_s + LEASE_S)
        campus.facility.start()
        until(lambda: around.battery.power_w > 0.9 * GIVES_W, START_S, "the next one takes the battery up")
        until(lambda: _allowed_w(campus) > EVENT_W + 0.5 * GIVES_W, START_S, "and lends what it gives")


def _allowed_w(campus: Campus) -> float:
    return sum(cluster.watts_w() for cluster in campus.clusters)
