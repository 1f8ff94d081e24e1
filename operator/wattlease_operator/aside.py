"""The API server for callers that may block: a client of its own, in a thread of its own.

Leadership and what must outlive the process are asked for in threads, and once, at the very end, from the event loop
itself, which then must not be the one that answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from threading import Thread
from typing import Any, TypeVar

from kubernetes.aio.client import Configuration

from wattlease_operator.api import Api

Answer = TypeVar("Answer")


class Aside:
    """Runs calls of `api` to their end, whoever asks."""

    def __init__(self, configuration: Configuration, call_s: float) -> None:
        self.api = Api(configuration, call_s=call_s)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="api-aside", daemon=True)
        self._thread.start()

    def ask(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        """The answer to a call; blocks as long as it may take."""
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def close(self) -> None:
        """Let go of the connections, and end the thread."""
        self.ask(self.api.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
