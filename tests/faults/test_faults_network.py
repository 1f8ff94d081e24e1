"""Nodes that cannot be reached, and limits that fall meanwhile."""

from __future__ import annotations

import time

from fault_site import LIMIT_W, TTL_S, Site, until

FALLEN_W = 14_000


def test_a_node_cut_off_falls_back_by_itself_and_its_watts_are_lent_to_nobody_until_it_is_heard(site: Site) -> None:
    node = site.nodes[0]
    with site.under_limit():
        had_w = node.watts_w()
        node.cut()
        site.work(2, 3)
        site.falls_back(0)
        time.sleep(TTL_S)
        assert site.sum_w() - node.watts_w() <= LIMIT_W - had_w
        node.heal()
        site.lends_to(2, 3)


def test_a_limit_that_falls_while_a_node_cannot_be_reached_holds_within_one_time_to_live(site: Site) -> None:
    with site.under_limit():
        site.nodes[0].cut()
        site.set_limit(FALLEN_W)
        until(lambda: site.sum_w() <= FALLEN_W, TTL_S, "the lower limit holds")
        time.sleep(TTL_S)
        site.nodes[0].heal()
        until(lambda: site.sum_w() > FALLEN_W - 1_000.0, 20.0, "the lower limit is used")
        site.set_limit(LIMIT_W)
        site.lends_to(2, 3)


def test_a_limit_that_falls_while_its_controller_dies_holds_within_one_time_to_live(site: Site) -> None:
    with site.under_limit():
        site.set_limit(FALLEN_W)
        site.controllers[0].process.kill()
        until(lambda: site.sum_w() <= FALLEN_W, TTL_S, "the lower limit holds")
        site.set_limit(LIMIT_W)
        site.controllers[0].process.start()
        site.lends_to(2, 3)


def test_all_links_cut_and_healed_again_and_again_raise_nothing(site: Site) -> None:
    with site.under_limit():
        for i in range(8):
            for node in site.nodes:
                node.cut() if i % 2 == 0 else node.heal()
            site.work(*((0, 1) if i % 4 < 2 else (2, 3)))
            time.sleep(0.7)
        site.lends_to(2, 3)
