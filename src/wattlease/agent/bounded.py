"""Calls that may hang, made so that nobody waits for them longer than was said.

One thread goes through a sweep's calls. If it is not done in time, one more thread for each call that is left helps
it, so that a call waits for no other. A call that is out after as long again is left to its thread: its name is
`hung`, and is called by nobody, until the thread comes back. All threads are daemons: none holds up an exit.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Generic, TypeVar

from wattlease.agent.cards import Trouble

PATIENCE_S = 0.5
"""Setting a limit takes 10 to 20 ms, and as much again on a busy node; a sweep is over within twice this."""

IDLE_THREADS = 2
"""Threads kept for the next sweep."""

Told = TypeVar("Told")
log = logging.getLogger(__name__)


class BoundedCalls:
    """Makes calls by name, one after the other as long as they are quick; one sweep at a time."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self._lock = Lock()
        self._hung: set[str] = set()
        self._idle: list[SimpleQueue[Callable[[], None]]] = []

    @property
    def hung(self) -> frozenset[str]:
        """The names whose calls are still out."""
        with self._lock:
            return frozenset(self._hung)

    def each(self, names: Iterable[str], call: Callable[[str], Told]) -> dict[str, Told | Trouble]:
        """What `call` says of each name, or that it hangs; within twice the patience."""
        asked = tuple(names)
        with self._lock:
            sweep = _Sweep(call, deque(name for name in asked if name not in self._hung), self._lock, self._hung)
        if sweep.left:
            self._lend_thread(sweep)
            if not sweep.done.wait(self.patience_s):
                for _ in range(len(sweep.left)):
                    self._lend_thread(sweep)
                sweep.done.wait(self.patience_s)
        said = sweep.give_up()
        hung = Trouble(f"no answer within {self.patience_s} s", lost=True, hung=True)
        return {name: said.get(name, hung) for name in asked}

    def one(self, name: str, call: Callable[[], Told]) -> Told | Trouble:
        """What a single call says, or that it hangs."""
        return self.each((name,), lambda _: call())[name]

    def _lend_thread(self, sweep: _Sweep[Told]) -> None:
        with self._lock:
            work = self._idle.pop() if self._idle else None
        if work is None:
            work = SimpleQueue()
            Thread(target=self._toil, args=(work,), daemon=True, name="bounded-call").start()
        work.put(sweep.go_through)

    def _toil(self, work: SimpleQueue[Callable[[], None]]) -> None:
        while True:
            work.get()()
            with self._lock:
                if len(self._idle) >= IDLE_THREADS:
                    return
                self._idle.append(work)


class _Sweep(Generic[Told]):
    """The calls of one sweep: those to make, those out, and what they said. The lock and `hung` are its maker's."""

    def __init__(self, call: Callable[[str], Told], left: deque[str], lock: Lock, hung: set[str]) -> None:
        self.left, self.done = left, Event()
        self._call, self._lock, self._hung = call, lock, hung
        self._out: set[str] = set()
        self._said: dict[str, Told | Trouble] = {}
        self._over = False

    def go_through(self) -> None:
        """Make calls until none is left."""
        while (name := self._take()) is not None:
            try:
                said: Told | Trouble = self._call(name)
            except Exception as error:  # a fault in a driver must not leave its card unheard of for ever
                log.exception("card=%s call failed", name)
                said = Trouble(f"{type(error).__name__}: {error}")
            self._tell(name, said)

    def give_up(self) -> dict[str, Told | Trouble]:
        """What has been said so far. Calls that are out are hung from now on; none is begun any more."""
        with self._lock:
            self._over = True
            self.left.clear()
            self._hung |= self._out
            return dict(self._said)

    def _take(self) -> str | None:
        with self._lock:
            if not self.left:
                return None
            name = self.left.popleft()
            self._out.add(name)
            return name

    def _tell(self, name: str, said: Told | Trouble) -> None:
        with self._lock:
            self._out.discard(name)
            if self._over:
                self._hung.discard(name)
                return
            self._said[name] = said
            if not (self.left or self._out):
                self.done.set()
