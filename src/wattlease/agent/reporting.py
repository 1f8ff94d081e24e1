"""What a renewal says of the node: its cards as last read, who uses them, and what is in force."""

from __future__ import annotations

from collections.abc import Callable
from math import fsum

from wattlease.agent.card_report import card_report
from wattlease.agent.hands import Hands
from wattlease.agent.meters import NodeMeters
from wattlease.agent.tenants import Tenants
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.report import CARDS_MAX, NodeReport

Reported = tuple[NodeReport | None, float]


def reporter(
    hands: Hands, tenants: Tenants, meters: NodeMeters, nameplate_w: float | None, clock: Now = steady_s
) -> Callable[[], Reported]:
    """Make the report; while the driver has not told the cards, the nameplate is what may be in force."""

    def report() -> Reported:
        if hands.blind:
            return None, max(nameplate_w or 0.0, hands.in_force_w)
        standings, in_force_w = hands.standings[:CARDS_MAX], hands.in_force_w
        shares, whole, now_s = tenants.shares([s.card for s in standings]), meters.whole(), clock()
        cards = tuple(card_report(standing, now_s, shares.get(standing.card.uuid, ())) for standing in standings)
        beside_w = in_force_w - fsum(standing.most_w for standing in standings)
        told = NodeReport(
            cards=cards,
            power_w=whole.power_w if whole else None,
            power_source=whole.source if whole else "",
            overhead_w=max(0.0, beside_w),
        )
        return told, in_force_w

    return report
