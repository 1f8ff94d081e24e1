"""Drivers and cards that forget, refuse, hang or vanish, and others who write their limits."""

from __future__ import annotations

import time

from fault_hardware import CARDS, MAX_W, MIN_W
from fault_site import REPAIR_S, TTL_S, Node, Site, until

UNKNOWN, NO_PERMISSION = 999, 4


def stands_still(node: Node) -> bool:
    before_w = node.limits_w()
    time.sleep(1.5)
    return node.limits_w() == before_w


def test_a_driver_reload_that_forgets_limits_is_put_right(site: Site) -> None:
    node = site.nodes[0]
    with site.under_limit():
        until(lambda: stands_still(node), 40.0, "its caps stand still")  # a write of our own would hide the reload
        had_w, reloads = node.watts_w(), node.metric("wattlease_driver_reloads_total")
        site.excuse(0)
        node.state.reload_driver()
        assert node.limits_w() == [MAX_W] * CARDS
        until(lambda: node.watts_w() <= had_w, REPAIR_S, "the limits are set again")
        site.lends_to(2, 3)
        assert node.metric("wattlease_driver_reloads_total") == reloads + 1


def test_another_writer_is_put_right_each_time_and_counted(site: Site) -> None:
    node = site.nodes[0]
    with site.under_limit():
        foreign, alone = node.metric("wattlease_foreign_writes_total"), 0
        while alone < 3:
            until(lambda: stands_still(node), 40.0, "its caps stand still")
            before_w = node.limits_w()
            site.excuse(0)
            node.state.write_limit(3, MAX_W)
            until(lambda: node.limits_w()[3] < MAX_W, REPAIR_S, "the limit is lowered again")
            time.sleep(1.0)
            alone += node.limits_w() == before_w  # a write of our own in that second may hide another's
        assert node.metric("wattlease_foreign_writes_total") >= foreign + alone
        site.lends_to(2, 3)


def test_limits_taken_at_a_higher_value_are_asked_for_lower(site: Site) -> None:
    node = site.nodes[2]
    with site.under_limit():
        node.state.cards["set_delta_mw"] = 15_000
        site.lends_to(2, 3)
        assert node.metric("wattlease_adjusted_limits_total") > 0.0
        site.lends_to(0, 1)
        node.state.cards["set_delta_mw"] = 0
    site.lends_to(2, 3)


def test_a_card_that_takes_every_limit_at_the_same_value_is_paid_for_by_the_others(site: Site) -> None:
    node = site.nodes[0]
    with site.under_limit():
        node.state.cards["set_override_mw"][0] = 420_000
        site.lends_to(2, 3)
        assert node.limits_w()[0] == 420.0
        assert max(node.limits_w()[1:]) < 400.0
        node.state.cards["set_override_mw"][0] = 0
        site.lends_to(0, 1)


def test_limits_that_a_driver_refuses_to_lower_are_lent_to_nobody(site: Site) -> None:
    node = site.nodes[0]
    with site.under_limit():
        limits_w = node.limits_w()
        for slot in range(CARDS):
            node.state.fail(slot, "set", NO_PERMISSION)
        site.work(2, 3)
        time.sleep(TTL_S)
        assert node.limits_w() == limits_w
        assert node.metric("wattlease_limit_refusals_total") > 0.0
        for slot in range(CARDS):
            node.state.fail(slot, "set", 0, calls=0)
        site.lends_to(2, 3)


def test_reads_that_fail_raise_nothing(site: Site) -> None:
    node = site.nodes[1]
    with site.under_limit():
        for slot in (0, 2, 4):
            node.state.fail(slot, "read", UNKNOWN)
        site.work(2, 3)
        time.sleep(3.0)
        for slot in (0, 2, 4):
            node.state.fail(slot, "read", 0, calls=0)
        site.lends_to(2, 3)


def test_calls_that_hang_for_five_seconds_hold_up_no_renewal(site: Site) -> None:
    node = site.nodes[0]
    with site.under_limit():
        renewals, failures = (node.metric(f"wattlease_renewal{kind}_total") for kind in ("s", "_failures"))
        node.state.hang(0, "read", 5.0, calls=1)
        node.state.hang(1, "set", 5.0, calls=1)
        site.work(2, 3)
        time.sleep(5.0)
        assert node.metric("wattlease_renewals_total") >= renewals + 3
        assert node.metric("wattlease_renewal_failures_total") == failures
        site.lends_to(2, 3)


def test_a_hung_card_holds_up_no_fallback_of_the_others(site: Site) -> None:
    node = site.nodes[0]
    with site.under_limit():
        node.state.hang(0, "read", 4.0, calls=2)
        node.state.hang(0, "set", 4.0, calls=2)
        site.controllers[0].process.kill()
        until(lambda: node.limits_w()[1:] == [MIN_W] * (CARDS - 1), TTL_S, "the others fall back")
        assert node.metric("wattlease_grant_seconds_left") > 0.0
        site.falls_back(1, 2, 3)
        site.controllers[0].process.start()
        site.lends_to(2, 3)


def test_a_lost_card_counts_at_its_default_and_may_come_back_with_it(site: Site) -> None:
    node = site.nodes[0]
    with site.under_limit():
        node.state.unplug(5)
        until(lambda: sum(node.limits_w()[:5]) < 5 * 500.0, 10.0, "the others make room for it")
        time.sleep(2.0)
        node.state.cards["limit_mw"][5] = node.state.cards["default_mw"][5]
        node.state.cards["present"][5] = 1
        until(lambda: node.limits_w()[5] < MAX_W, 40.0, "it is limited again")
        site.lends_to(2, 3)
