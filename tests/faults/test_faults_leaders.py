"""Two controllers: one stands by, or both believe that they lead."""

from __future__ import annotations

import shutil
import time

from fault_site import Site, until

LEADS = "wattlease_lease_leads"


def test_a_paused_leader_is_followed_by_the_other_and_answers_nothing_when_it_wakes(site: Site) -> None:
    first, second = site.controllers
    with site.under_limit():
        second.process.start()
        until(lambda: second.metric(LEADS) == 0.0, 20.0, "the second stands by")
        first.process.pause()
        until(lambda: second.metric(LEADS) == 1.0, 20.0, "the second leads")
        site.lends_to(2, 3)
        first.process.resume()
        site.lends_to(0, 1)
        assert first.metric(LEADS) == 0.0
        assert second.metric("wattlease_lease_epoch") > 1.0
        assert second.process.terminate() == 0
        until(lambda: first.metric(LEADS) == 1.0, 20.0, "the first leads again")
        site.lends_to(2, 3)


def test_a_second_leader_with_a_higher_epoch_is_obeyed_while_the_first_still_answers(site: Site) -> None:
    """Each has a folder of its own, as after a restored backup: nothing but epochs keeps them apart."""
    first, second = site.controllers
    split = site.folder / "split"
    shutil.copytree(first.folder, split)
    shared, second.folder = second.folder, split
    site.write_config(second)
    with site.under_limit():
        second.process.start()
        until(lambda: second.metric(LEADS) == 1.0, 20.0, "the second believes that it leads")
        assert first.metric(LEADS) == 1.0
        assert second.metric("wattlease_lease_epoch") == first.metric("wattlease_lease_epoch") + 1.0
        for node in site.nodes[:2]:  # these two find the second, and the others stay with the first
            node.links[0].cut()
        site.work(2, 3)
        time.sleep(8.0)
        for node in site.nodes[:2]:
            node.links[0].heal()
        site.work(0, 1)
        time.sleep(4.0)
        assert first.metric(LEADS) == 1.0
        first.process.kill()
        site.lends_to(2, 3)
        second.process.kill()
        shutil.rmtree(shared)
        shutil.copytree(split, shared)
        second.folder = shared
        site.write_config(second)
        first.process.start()
        site.lends_to(0, 1)
