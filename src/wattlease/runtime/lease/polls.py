"""Requests that wait for news: at most one of each holder, as only its newest counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from wattlease.core.lease import Request


@dataclass(frozen=True, slots=True)
class Poll:
    """A request that waits; its future tells whether it is still the holder's newest."""

    request: Request
    ended: asyncio.Future[bool]


class Polls:
    """The waiting requests of one grantor."""

    def __init__(self) -> None:
        self._open: dict[str, Poll] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def wait(self, request: Request, wait_s: float) -> bool:
        """Wait for this long or until woken; false if the holder has asked anew meanwhile (`supersede`)."""
        loop = asyncio.get_running_loop()
        poll = Poll(request, loop.create_future())
        self._open[request.holder] = poll
        timer = loop.call_later(wait_s, _end, poll.ended, True)
        try:
            return await poll.ended
        finally:
            timer.cancel()
            if self._open.get(request.holder) is poll:
                del self._open[request.holder]

    def supersede(self, name: str) -> None:
        """The holder has asked anew: its older request is answered no more."""
        if poll := self._open.get(name):
            _end(poll.ended, False)

    def wake(self, is_news: Callable[[Request], bool]) -> None:
        """End the waiting of those for whom the answer would be news."""
        for poll in self._open.values():
            if not poll.ended.done() and is_news(poll.request):
                _end(poll.ended, True)

    def wake_holder(self, name: str) -> None:
        """End the waiting of this holder."""
        if poll := self._open.get(name):
            _end(poll.ended, True)


def _end(ended: asyncio.Future[bool], newest: bool) -> None:
    if not ended.done():
        ended.set_result(newest)
