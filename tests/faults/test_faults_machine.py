"""Machines whose clocks jump, whose disks are full, whose certificates run out."""

from __future__ import annotations

import time

import pytest
from fault_site import TTL_S, Site, until

from wattlease.runtime import pki

HOUR_S, DAY_S = 3600, 86_400


@pytest.mark.parametrize("who", ["agent", "controller"])
def test_a_wall_clock_that_jumps_moves_no_lease(site: Site, who: str) -> None:
    process = site.nodes[0].agent if who == "agent" else site.controllers[0].process
    with site.under_limit():
        busy = ((2, 3), (0, 1))
        for i, jump_s in enumerate((DAY_S, 0, HOUR_S, 0)):
            process.wall_clock_s[0] = jump_s
            site.lends_to(*busy[i % 2])
            time.sleep(1.0)


def test_a_full_disk_at_an_agent_costs_no_lease_and_no_limit(site: Site) -> None:
    with site.under_limit():
        site.nodes[0].agent.fill_disk()
        site.lends_to(2, 3)
        site.lends_to(0, 1)
        assert site.nodes[0].agent.terminate() == 0
        site.nodes[0].agent.start()
        site.lends_to(2, 3)


def test_an_agent_that_starts_on_a_full_disk_is_lent_to(site: Site) -> None:
    agent = site.nodes[2].agent
    with site.under_limit():
        assert agent.terminate() == 0
        agent.start()
        agent.fill_disk()  # long before it opens its first file
        site.lends_to(2, 3)
        agent.free_disk()


def test_a_disk_that_takes_nothing_makes_the_controller_step_down_and_the_agents_fall_back(site: Site) -> None:
    with site.under_limit():
        site.controllers[0].process.fill_disk()
        until(lambda: site.controllers[0].metric("wattlease_lease_leads") == 0.0, 10.0, "it leads no more")
        site.falls_back(0, 1, 2, 3)
        site.controllers[0].process.free_disk()
        site.lends_to(2, 3)


def test_a_node_whose_certificate_runs_out_falls_back_and_takes_up_the_new_one_by_itself(site: Site) -> None:
    node = site.nodes[0]
    with site.under_limit():
        pki.issue_holder(site.pki, node.name, 4.0 / DAY_S, renew=True)
        site.falls_back(0, patience_s=4.0 + 2 * TTL_S)
        pki.issue_holder(site.pki, node.name, 30, renew=True)
        site.lends_to(0, 2)
