"""Throttle: cap the job's cards. Cheap, at once, and taken back as easily; the first watts cost the least."""

from __future__ import annotations

from wattlease.core.offers import Offers, View
from wattlease.core.run_offers import run


def throttle(view: View) -> Offers:
    """Offer the job's own size, uncapped and at each level along its curve."""
    return run(view, 0, view.levels)
