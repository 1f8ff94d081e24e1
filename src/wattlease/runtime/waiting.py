"""Waiting for news, and not for ever."""

from __future__ import annotations

import asyncio


async def set_within(event: asyncio.Event, span_s: float) -> bool:
    """Wait until the event is set, at most so long; say whether it is. `asyncio.wait_for` would do, but for a cancel
    that comes with the news: before Python 3.12 it may lose that."""
    try:
        async with asyncio.timeout(span_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
