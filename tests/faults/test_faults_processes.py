"""Processes that die, stop, restart or stand still: nothing rises, and watts move again when they are back."""

from __future__ import annotations

import time

from fault_hardware import FALLBACK_W, MAX_W, NAMEPLATE_W
from fault_site import LIMIT_W, TTL_S, NewSite, Site, until

EVERYONE = (0, 1, 2, 3)


def test_a_killed_agent_leaves_its_limits_as_they_are_and_comes_back_at_its_fallback(site: Site) -> None:
    node = site.nodes[0]
    with site.under_limit():
        limits_w = node.limits_w()
        node.agent.kill()
        site.work(2, 3)
        time.sleep(TTL_S + 1.0)
        assert node.limits_w() == limits_w
        node.agent.start()
        site.falls_back(0, patience_s=20.0)
        site.lends_to(2, 3)


def test_an_agent_told_to_stop_leaves_its_limits_as_they_are(site: Site) -> None:
    node = site.nodes[1]
    with site.under_limit():
        limits_w = node.limits_w()
        assert node.agent.terminate() == 0
        site.work(2, 3)
        time.sleep(1.0)
        assert node.limits_w() == limits_w
        node.agent.start()
        site.lends_to(2, 3)


def test_all_agents_are_restarted_one_after_the_other(site: Site) -> None:
    with site.under_limit():
        for node in site.nodes:
            assert node.agent.terminate() == 0
            node.agent.start()
            until(lambda node=node: node.metric("wattlease_renewals_total") > 0.0, 20.0, f"{node.name} renews")  # type: ignore[misc]
        site.lends_to(2, 3)


def test_agents_fall_back_before_their_grants_end_when_the_controller_is_killed(site: Site) -> None:
    with site.under_limit():
        site.controllers[0].process.kill()
        site.falls_back(*EVERYONE)
        assert all(node.metric("wattlease_grant_seconds_left") > 0.0 for node in site.nodes)
        site.controllers[0].process.start()
        site.lends_to(2, 3)


def test_a_controller_told_to_stop_is_followed_by_the_next_one(site: Site) -> None:
    with site.under_limit():
        assert site.controllers[0].process.terminate() == 0
        site.controllers[0].process.start()
        site.lends_to(2, 3)


def test_a_controller_paused_for_three_times_to_live_comes_back(site: Site) -> None:
    with site.under_limit():
        site.controllers[0].process.pause()
        begun_s = time.monotonic()
        site.falls_back(*EVERYONE)
        time.sleep(3 * TTL_S - (time.monotonic() - begun_s))
        site.controllers[0].process.resume()
        site.lends_to(2, 3)


def test_a_node_without_an_agent_counts_at_its_nameplate(new_site: NewSite) -> None:
    site = new_site(fresh=("gpu-0004",))
    with site.under_limit():
        site.start(agents=(0, 1, 2))
        site.work(0)
        until(lambda: site.sum_w() > LIMIT_W - 1_000.0, 40.0, "the others share what is left")
        assert site.nodes[3].watts_w() == NAMEPLATE_W
        assert site.nodes[3].limits_w() == [MAX_W] * 8
        site.nodes[3].agent.start()
        site.falls_back(3, patience_s=20.0)
        site.lends_to(1, 2)
        assert site.nodes[3].watts_w() >= FALLBACK_W
