"""A card's standing in the words of a renewal."""

from __future__ import annotations

from wattlease.agent.standing import Standing
from wattlease.runtime.lease.report import CardReport, Share


def card_report(standing: Standing, now_s: float, shares: tuple[Share, ...] = ()) -> CardReport:
    """The card as last read, on the clock of its `Hands`; its limit is the highest that it may have."""
    card, reading, trouble = standing.card, standing.reading, standing.trouble
    fresh = reading if trouble is None else None
    return CardReport(
        uuid=card.uuid,
        index=card.index,
        model=card.model[:128],
        age_s=max(0.0, now_s - standing.read_s) if reading else 0.0,
        power_w=fresh.power_w if fresh else None,
        energy_j=fresh.energy_j if fresh else None,
        limit_w=standing.most_w,
        min_w=card.min_w,
        max_w=card.max_w,
        reasons=fresh.reasons if fresh else 0,
        lost=trouble is not None and trouble.lost,
        foreign_writes=standing.foreign_writes,
        foreign_w=standing.foreign_w,
        shares=shares,
    )
