"""The network between an agent and a controller: every link can be cut, and what was under way comes late."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from threading import Thread
from typing import Any

CHUNK_BYTES = 65_536


class Wire:
    """Links over loopback, forwarded in a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True, name="wire")
        self._thread.start()

    def link(self, port: int) -> Link:
        """A link to this port of the machine."""
        return self.do(Link.begin(self, port))

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)

    def end(self) -> None:
        self.do(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)


class Link:
    """One way from an agent to a controller. Cut, it swallows: nothing is refused, nothing is answered."""

    def __init__(self, wire: Wire, target: int) -> None:
        self._wire, self._target = wire, target
        self._whole = asyncio.Event()
        self._whole.set()
        self.port = 0

    @classmethod
    async def begin(cls, wire: Wire, target: int) -> Link:
        link = cls(wire, target)
        server = await asyncio.start_server(link._carry, "127.0.0.1", 0)
        link.port = server.sockets[0].getsockname()[1]
        return link

    def cut(self) -> None:
        self._wire.do(_call(self._whole.clear))

    def heal(self) -> None:
        """What was sent while it was cut arrives now."""
        self._wire.do(_call(self._whole.set))

    async def _carry(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        try:
            far, there = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            back.close()
            return
        await asyncio.gather(self._pump(near, there), self._pump(far, back))

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                await self._whole.wait()
                target.write(data)
                await target.drain()
        target.close()


async def _call(what: Any) -> None:
    what()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
