"""Faults that come and go on a site: each is begun on a target that is well, and ended some seconds later.

What raises limits by itself (a driver's reload, another writer) strikes only where an agent runs and is awake, since
nobody else could put it right, and is excused for as long as putting it right may take.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from fault_hardware import CARDS, MAX_W
from fault_site import LIMIT_W, Node, Site

from wattlease.agent.virtual_state import Fault

LOW_W = 14_000
HANG_S = 5.0
LONGEST_S = 9.0
FUNCTIONS: tuple[Fault, ...] = ("read", "set")

End = Callable[[], None]


@dataclass(frozen=True)
class Kind:
    """A kind of fault: on a node, or on the controller; `begin` returns what ends it, and `rest_s` later the
    next may come there. `wants_agent`: hardware rises, and only an agent that is up can put it right."""

    name: str
    begin: Callable[[Site, int, Random], End]
    on_node: bool = True
    wants_agent: bool = False
    rest_s: float = 0.0


def _killed(site: Site, i: int, _chance: Random) -> End:
    site.nodes[i].agent.kill()
    return site.nodes[i].agent.start


def _stopped(site: Site, i: int, _chance: Random) -> End:
    site.nodes[i].agent.terminate()
    return site.nodes[i].agent.start


def _paused(site: Site, i: int, _chance: Random) -> End:
    site.nodes[i].agent.pause()
    return site.nodes[i].agent.resume


def _cut(site: Site, i: int, _chance: Random) -> End:
    site.nodes[i].cut()
    return site.nodes[i].heal


def _reloaded(site: Site, i: int, _chance: Random) -> End:
    site.excuse(i)
    site.nodes[i].state.reload_driver()
    return _nothing


def _written(site: Site, i: int, chance: Random) -> End:
    site.excuse(i)
    site.nodes[i].state.write_limit(chance.randrange(CARDS), chance.uniform(300.0, MAX_W))
    return _nothing


def _refused(site: Site, i: int, chance: Random) -> End:
    return _failing(site.nodes[i], "set", chance)


def _unread(site: Site, i: int, chance: Random) -> End:
    return _failing(site.nodes[i], "read", chance)


def _failing(node: Node, function: Fault, chance: Random) -> End:
    slots = chance.sample(range(CARDS), chance.randrange(1, CARDS + 1))
    for slot in slots:
        node.state.fail(slot, function, 999)

    def end() -> None:
        for slot in slots:
            node.state.fail(slot, function, 0, calls=0)

    return end


def _hung(site: Site, i: int, chance: Random) -> End:
    state, function = site.nodes[i].state, chance.choice(FUNCTIONS)
    slots = chance.sample(range(CARDS), 2)
    for slot in slots:
        state.hang(slot, function, HANG_S, calls=1)

    def end() -> None:
        for slot in slots:
            state.hang(slot, function, 0.0, calls=0)

    return end


def _lost(site: Site, i: int, chance: Random) -> End:
    """It comes back with its default, as a card does that was reset."""
    state, slot = site.nodes[i].state, chance.randrange(CARDS)
    state.unplug(slot)

    def end() -> None:
        state.cards["limit_mw"][slot] = state.cards["default_mw"][slot]
        state.cards["present"][slot] = 1

    return end


def _stubborn(site: Site, i: int, chance: Random) -> End:
    """What it writes first comes out higher than asked, before it knows."""
    state = site.nodes[i].state
    state.cards["set_delta_mw"] = chance.randrange(1_000, 20_000)
    site.excuse(i, LONGEST_S + 1.0)

    def end() -> None:
        state.cards["set_delta_mw"] = 0

    return end


def _agent_disk(site: Site, i: int, _chance: Random) -> End:
    site.nodes[i].agent.fill_disk()
    return site.nodes[i].agent.free_disk


def _agent_clock(site: Site, i: int, chance: Random) -> End:
    return _jumped(site.nodes[i].agent.wall_clock_s, chance)


def _controller_clock(site: Site, _i: int, chance: Random) -> End:
    return _jumped(site.controllers[0].process.wall_clock_s, chance)


def _jumped(clock_s: object, chance: Random) -> End:
    clock_s[0] = chance.randrange(-86_400, 86_400)  # type: ignore[index]

    def end() -> None:
        clock_s[0] = 0  # type: ignore[index]

    return end


def _controller_killed(site: Site, _i: int, _chance: Random) -> End:
    site.controllers[0].process.kill()
    return site.controllers[0].process.start


def _controller_stopped(site: Site, _i: int, _chance: Random) -> End:
    site.controllers[0].process.terminate()
    return site.controllers[0].process.start


def _controller_paused(site: Site, _i: int, _chance: Random) -> End:
    site.controllers[0].process.pause()
    return site.controllers[0].process.resume


def _controller_disk(site: Site, _i: int, _chance: Random) -> End:
    site.controllers[0].process.fill_disk()
    return site.controllers[0].process.free_disk


def _limit_cut(site: Site, _i: int, chance: Random) -> End:
    site.set_limit(chance.randrange(LOW_W, LIMIT_W))
    return lambda: site.set_limit(LIMIT_W)


def _nothing() -> None:
    pass


KINDS = (
    Kind("agent killed", _killed),
    Kind("agent stopped", _stopped),
    Kind("agent paused", _paused),
    Kind("network cut", _cut),
    Kind("driver reloaded", _reloaded, wants_agent=True),
    Kind("another writer", _written, wants_agent=True),
    Kind("limits refused", _refused),
    Kind("reads fail", _unread),
    Kind("calls hang", _hung, rest_s=HANG_S + 1.0),
    Kind("card lost", _lost),
    Kind("limits taken higher", _stubborn, wants_agent=True),
    Kind("agent's disk full", _agent_disk),
    Kind("agent's clock jumps", _agent_clock),
    Kind("controller killed", _controller_killed, on_node=False),
    Kind("controller stopped", _controller_stopped, on_node=False),
    Kind("controller paused", _controller_paused, on_node=False),
    Kind("controller's disk full", _controller_disk, on_node=False),
    Kind("controller's clock jumps", _controller_clock, on_node=False),
    Kind("limit falls", _limit_cut, on_node=False),
)


@dataclass
class Sick:
    """A target until it may be struck again: first its fault is ended, then it rests."""

    until_s: float
    end: End
    rest_s: float


def storm(site: Site, span_s: float, chance: Random, pause_s: tuple[float, float] = (0.3, 2.0)) -> Counter[str]:
    """Let faults come and go for so long, one at a time on each target; return how many came of each kind."""
    came: Counter[str] = Counter()
    sick: dict[int, Sick] = {}  # by node; the controller is -1
    over_s, work_s = time.monotonic() + span_s, 0.0
    while time.monotonic() < over_s:
        time.sleep(chance.uniform(*pause_s))
        _heal(sick, time.monotonic())
        if time.monotonic() > work_s:
            site.work(*chance.sample(range(len(site.nodes)), 2))
            work_s = time.monotonic() + chance.uniform(4.0, 10.0)
        kind = chance.choice(KINDS)
        target = chance.randrange(len(site.nodes)) if kind.on_node else -1
        if target in sick or (kind.on_node and not _is_up(site.nodes[target], kind)):
            continue
        end = kind.begin(site, target, chance)
        sick[target] = Sick(time.monotonic() + chance.uniform(1.0, LONGEST_S), end, kind.rest_s)
        came[kind.name] += 1
    _heal(sick, float("inf"))
    return came


def _is_up(node: Node, kind: Kind) -> bool:
    return not kind.wants_agent or node.metric("wattlease_grant_seconds_left") >= 0.0


def _heal(sick: dict[int, Sick], now_s: float) -> None:
    for target, fault in list(sick.items()):
        if fault.until_s <= now_s:
            fault.end()
            sick.pop(target)
            if fault.rest_s and now_s < float("inf"):
                sick[target] = Sick(now_s + fault.rest_s, _nothing, 0.0)
