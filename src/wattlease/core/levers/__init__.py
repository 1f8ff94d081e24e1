"""The levers: one file, one function of one shape each, from columns of jobs to columns of offers."""

from __future__ import annotations

from wattlease.core.levers.downsize import downsize
from wattlease.core.levers.pause import pause
from wattlease.core.levers.queue import queue
from wattlease.core.levers.storage import storage
from wattlease.core.levers.throttle import throttle
from wattlease.core.offers import Offers, View

__all__ = ["downsize", "offers", "pause", "queue", "storage", "throttle"]


def offers(view: View) -> tuple[Offers, ...]:
    """Every lever's offers on the jobs; their order means nothing, the fit takes the cheapest watts."""
    return (throttle(view), *downsize(view), pause(view), queue(view))
