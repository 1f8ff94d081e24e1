"""Who newly waits does not wait for the loop where watts are plenty; who waits on does not hurry it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wattlease.core.actions import Release
from wattlease.core.decide import SLOW_S, decide
from wattlease.core.memory import FRESH
from wattlease.core.model import JobState, Snapshot
from wattlease.sim import instances
from wattlease.sim.instances import Shape

SEEDS = st.integers(0, 2**32 - 1)
PLENTY_W = 1e8


def without(snapshot: Snapshot, absent: int) -> Snapshot:
    """The same before the last `absent` jobs came, all of which wait."""
    jobs, stay = snapshot.jobs, len(snapshot.jobs.id) - absent
    assert (jobs.state[stay:] == JobState.HELD).all()
    columns = {name: getattr(jobs, name)[:stay] for name in jobs.__slots__}
    return replace(snapshot, jobs=type(jobs)(**columns))


def waiting(seed: int, running: int, wait: int, limit_w: float) -> Snapshot:
    shape = Shape(running=running, waiting=wait, paused=0)
    return instances.limited(instances.snapshot(np.random.default_rng(seed), shape), limit_w)


def released(snapshot: Snapshot, after_s: float, absent: int) -> set[str]:
    """Who is released in the tick `after_s` after the queue was last looked at, the first that sees `absent` jobs."""
    _, memory = decide(without(snapshot, absent), FRESH)
    plan, _ = decide(replace(snapshot, now_s=snapshot.now_s + after_s), memory)
    return {action.job for action in plan.actions if isinstance(action, Release)}


@given(SEEDS, st.integers(0, 12), st.integers(1, 8), st.floats(0.5, SLOW_S - 0.5))
@settings(max_examples=60, deadline=None)
def test_who_comes_while_watts_are_plenty_is_released_by_the_first_tick_that_sees_him(
    seed: int, running: int, wait: int, after_s: float
) -> None:
    snapshot = waiting(seed, running, wait, PLENTY_W)
    assert released(snapshot, after_s, wait) == set(snapshot.jobs.id[-wait:])


@given(SEEDS, st.integers(0, 12), st.integers(1, 8), st.floats(0.5, 1.5), st.floats(0.5, SLOW_S - 1.5))
@settings(max_examples=30, deadline=None)
def test_who_waits_on_is_looked_at_with_the_others(
    seed: int, running: int, wait: int, limit_frac: float, after_s: float
) -> None:
    snapshot = waiting(seed, running, wait, PLENTY_W)
    snapshot = instances.limited(snapshot, limit_frac * float(snapshot.site.nodes.nameplate_w.sum()))
    _, memory = decide(without(snapshot, wait), FRESH)
    _, memory = decide(replace(snapshot, now_s=snapshot.now_s + after_s), memory)
    assume(np.isnan(memory.scopes.aim_w).all())  # where a limit binds, other rules look as well
    looked_s = memory.slow_s
    _, memory = decide(replace(snapshot, now_s=snapshot.now_s + after_s + 1.0), memory)
    assert memory.slow_s == looked_s
