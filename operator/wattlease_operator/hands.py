"""Carries out orders: the most urgent first, several at a time, each object one thing at a time.

The API server may take seconds for an answer, or give none; the loop that decides never waits for it. Orders that
nobody renewed are not begun: whoever lost the leadership, or hangs, does nothing more. A write that met a conflict, or
an object that has changed, is not tried again by itself: the next look says what is still missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.said import Said
from wattlease.runtime.waiting import set_within
from wattlease_operator.api import Api, Trouble, Why
from wattlease_operator.ordering import Order
from wattlease_operator.writes import Apply, Disown, Steps, Write, disowning

log = logging.getLogger(__name__)

LAST_S = 15.0
"""Orders are begun for this long after they were given."""

RETRY_S = 3.0
"""Between two tries at one object: by then the watch has told what the first has changed."""

REFUSED_S = 60.0
"""The same where the API server refused, which seldom changes."""

IDLE_S = 1.0
"""Between two looks at the orders where nothing is new."""

MOST_AT_ONCE = 16
"""Objects that are written at one time."""


Refused: TypeAlias = Callable[[Order, Trouble], Awaitable[bool]]
"""Is told of an order that the API server refused, and says whether it has another in its place."""


async def _no_other(order: Order, trouble: Trouble) -> bool:
    return False


class Hands:
    """Works on the newest orders."""

    def __init__(self, api: Api, now: Now = steady_s, refused: Refused = _no_other) -> None:
        self._api, self._now, self._refused = api, now, refused
        self._orders: tuple[Order, ...] = ()
        self._given_s = float("-inf")
        self._not_before_s: dict[str, float] = {}
        self._under_way: set[str] = set()
        self._news = asyncio.Event()
        self._said = Said(log)

    def order(self, orders: Iterable[Order]) -> None:
        """Want this from now on, in place of what was wanted before."""
        self._orders = tuple(sorted(orders, key=lambda order: order.urgency))
        self._given_s = self._now()
        self._news.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._news.clear()
                if self._now() - self._given_s <= LAST_S:
                    self._begin(tasks)
                await set_within(self._news, IDLE_S)

    def _begin(self, tasks: asyncio.TaskGroup) -> None:
        """Start what is not under way and was not tried just now, as far as there are hands."""
        now_s = self._now()
        self._not_before_s = {about: at_s for about, at_s in self._not_before_s.items() if at_s > now_s}
        for order in self._orders:
            if len(self._under_way) >= MOST_AT_ONCE:
                return
            if order.about not in self._under_way and order.about not in self._not_before_s:
                self._under_way.add(order.about)
                tasks.create_task(self._try(order))

    async def _try(self, order: Order) -> None:
        wait_s = RETRY_S
        try:
            trouble = await self._write(order)
            self._tell(order, trouble)
            if trouble is not None and trouble.why == Why.REFUSED and not await self._refused(order, trouble):
                wait_s = REFUSED_S
        finally:
            self._not_before_s[order.about] = self._now() + wait_s
            self._under_way.discard(order.about)
            self._news.set()  # a hand is free

    async def _write(self, order: Order) -> Trouble | None:
        for write in order.writes:
            trouble = await self._do(write)
            if trouble is not None:
                return trouble
        return None

    async def _do(self, write: Write) -> Trouble | None:
        return await carry_out(self._api, write)

    def _tell(self, order: Order, trouble: Trouble | None) -> None:
        """Once each; an object that is gone, or was changed meanwhile, is nobody's trouble."""
        about = f"{order.what} not done: {order.about}"
        if trouble is None:
            self._said.forget(about)
            log.info("%s: %s", order.what, order.about)
        elif trouble.why in (Why.GONE, Why.CONFLICT):
            log.debug("%s: %s", about, trouble)
        else:
            self._said.once(logging.WARNING, about, str(trouble))


async def carry_out(api: Api, write: Write) -> Trouble | None:
    """Write it, once."""
    match write:
        case Apply(ref, fields, subresource):
            return await api.apply(ref, fields, subresource=subresource, force=True)
        case Steps(ref, steps):
            return await api.patch(ref, steps)
        case Disown(ref, operation):
            body = await api.read(ref)
            if isinstance(body, Trouble):
                return body
            found = disowning(body, operation)
            return await api.patch(ref, found) if found else None
