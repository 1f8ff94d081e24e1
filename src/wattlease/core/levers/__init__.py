"""The levers: one file, one function of one shape each, from columns of jobs to columns of offers."""

from __future__ import annotations

from wattlease.core.levers.downsize import downsize
from wattlease.core.levers.pause import pause
from wattlease.core.levers.queue import queue
from wattlease.core.levers.storage import storage
from wattlease.core.levers.throttle import throttle
from wattlease.core.offers import Kind, Offers, View

__all__ = ["downsize", "offers", "pause", "queue", "storage", "throttle", "within"]


def offers(view: View) -> tuple[Offers, ...]:
    """Every lever's offers on the jobs; their order means nothing, the fit takes the cheapest watts."""
    return (throttle(view), *downsize(view), pause(view), queue(view))


def within(view: View) -> tuple[Offers, ...]:
    """The same where every job keeps the view's kind and size: only what at least one of them may take, and the
    throttle, which is never empty."""
    smaller = downsize(view) if view.size.any() else ()
    still = ((pause, Kind.PAUSE), (queue, Kind.WAIT))
    return (throttle(view), *smaller, *(lever(view) for lever, kind in still if (view.kind == int(kind)).any()))
