"""The two threads that keep the node within its lease, whatever the event loop, the network or the disk do.

Rule 1: the dead-man looks at the lease's end by the steady clock and waits for nothing but the cards: it has given up
    before the grant ends. It never raises.
Rule 2: only the worker raises, only under a grant that lasts twice as long as giving it up takes, and only to that.
Rule 3: what holds is compared with what is allowed again and again; nothing depends on being told of a change.
Rule 4: stopping writes nothing: limits stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Lock, Thread

from wattlease.agent.hands import Hands, Outcome
from wattlease.core.lease import Grant, Holder, allowed_w
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.said import Said

NAP_S = 0.25
"""The longest that the dead-man sleeps. It gives up this much sooner than it must, so that none is too long."""

SILENT_S = 20.0
"""A thread that has not moved for this long is as good as dead: no sweep of bounded calls takes as long."""

SAME_W = 1e-6

log = logging.getLogger(__name__)


class Keeper:
    """Looks, guards and holds in one thread, gives up in another; `lease` tells the holder as it is now."""

    def __init__(
        self,
        hands: Hands,
        lease: Callable[[], Holder],
        reaction_s: float,
        *,
        look_s: float = 1.0,
        guard_s: float = 0.5,
        node_w: Callable[[], float | None] = lambda: None,
        clock: Now = steady_s,
    ) -> None:
        self.fault: BaseException | None = None
        self.outcome: Outcome | None = None
        self._hands, self._lease, self._node_w, self._clock = hands, lease, node_w, clock
        self._reaction_s, self._look_s, self._guard_s = reaction_s + NAP_S, look_s, guard_s
        self._look_at_s = float("-inf")
        self._waiting: list[Future[None]] = []
        self._lock, self._awake, self._over = Lock(), Event(), Event()
        self._beats_s = {"keeper": clock(), "deadman": clock()}
        self._said = Said(log)

    def start(self, first: Outcome) -> None:
        """Begin; `first` came of going to the fallback."""
        self._note(first)
        steps = {"keeper": self._keep, "deadman": self._watch_the_end}
        for name, step in steps.items():
            Thread(target=self._repeat, args=(name, step), name=name, daemon=True).start()

    def stop(self) -> None:
        """Give no more orders; one in progress may end after this returns."""
        self._over.set()
        self._awake.set()

    def obey(self) -> Future[None]:
        """Act on the lease as it is now, at once; done when it was read back."""
        done: Future[None] = Future()
        with self._lock:
            self._waiting.append(done)
        self._awake.set()
        return done

    def why_dead(self) -> str:
        """What keeps the threads from their duty; empty if they are at it."""
        if self.fault is not None:
            return f"{type(self.fault).__name__}: {self.fault}"
        late = [name for name, beat_s in self._beats_s.items() if self._clock() - beat_s > SILENT_S]
        return f"{' and '.join(late)} stands still" if late else ""

    # The dead-man

    def _watch_the_end(self) -> None:
        holder, now_s = self._lease(), self._clock()
        safe_w = allowed_w(holder, now_s + self._reaction_s)
        if self._hands.ordered_w > safe_w + SAME_W:
            log.warning("fall allowed_w=%.0f ordered_w=%.0f", safe_w, self._hands.ordered_w)
            self._note(self._hands.fall(safe_w))
        # No raise is younger than a reaction when its grant is about to end, so half of one is soon enough to see it.
        nap_s, left_s = min(NAP_S, self._reaction_s / 2.0), holder.expires_s - self._reaction_s - now_s
        self._over.wait(left_s if 0.0 < left_s < nap_s else nap_s)

    # The worker

    def _keep(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if self._clock() >= self._look_at_s:
            self._look_at_s = self._clock() + self._look_s
            self._hands.look(self._node_w())
            self._hold()
        elif waiting:
            self._hold()
        else:
            self._note(self._hands.watch(self._node_w()))
        for done in waiting:
            done.set_result(None)
        self._awake.wait(self._guard_s)
        self._awake.clear()

    def _hold(self) -> None:
        """Bring about what is granted; a grant that ends too soon is left to the dead-man."""
        grant = self._lease().grant
        if grant is None:
            return
        if grant.ttl_s <= 2.0 * self._reaction_s:
            told = f"a grant of {grant.ttl_s:g} s is over before the cards could be brought down; the fallback holds"
            self._said.once(logging.WARNING, "grant too short", told)
        if self._may_hold(grant):
            self._note(self._hands.hold(grant.watts_w, grant.caps_w, still=lambda: self._may_hold(grant)))

    def _may_hold(self, grant: Grant) -> bool:
        """Whether this is what the lease grants now, and will for twice as long as giving it up takes."""
        holder, now_s = self._lease(), self._clock()
        same = holder.grant is not None and holder.grant.watts_w >= grant.watts_w
        return same and holder.granted_from_s <= now_s < holder.expires_s - 2.0 * self._reaction_s

    def _note(self, outcome: Outcome) -> None:
        self.outcome = outcome
        for trouble in outcome.troubles:
            self._said.once(logging.WARNING, "trouble", trouble)
        if not outcome.troubles:
            self._said.forget("trouble")

    def _repeat(self, name: str, step: Callable[[], None]) -> None:
        try:
            while not self._over.is_set():
                self._beats_s[name] = self._clock()
                step()
        except BaseException as fault:
            self.fault = fault
            log.exception("thread=%s died", name)
