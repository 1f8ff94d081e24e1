"""Carries out one step of a change of models: weights of the route, replicas of a Deployment, or vLLM's sleep.

What a Deployment was before we changed it stands on it, in the same write, so that whoever comes after us, or a person
with `kubectl`, can put it back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from wattlease_operator.api import Api
from wattlease_operator.hands import carry_out
from wattlease_operator.reading import at, whole
from wattlease_operator.swap import OWN, Deed, Move, Sleep, Wake
from wattlease_operator.swap_look import Sight
from wattlease_operator.swap_servers import Servers
from wattlease_operator.swaps import Swap
from wattlease_operator.words import BEFORE_SWAP
from wattlease_operator.writes import Disown, Steps, Write, owning

REPLICAS = ("spec", "replicas")


async def do(api: Api, servers: Servers, swap: Swap, sight: Sight, deed: Deed) -> str:
    """Do it; why it was not done, if so."""
    match deed:
        case Move(shares):
            route = sight.route
            return await _write(api, Steps(route.ref, route.steps(route.moved(shares))))
        case Wake(i) | Sleep(i):
            wakes = isinstance(deed, Wake)
            if swap.servings[i].sleep == "Scale":
                return await _write(api, *scaling(swap, sight, i, wakes))
            return await _switch(api, servers, swap, sight, i, wakes)


def scaling(swap: Swap, sight: Sight, i: int, wakes: bool) -> tuple[Write, ...]:
    """The writes that have a model's Deployment run or not, and remember or give back what it was before."""
    serving = swap.servings[i]
    now = whole(at(sight.deployments[serving.deployment], "spec", "replicas"), 1)
    marks = sight.before(serving.deployment)
    ref = sight.ref(serving.deployment)
    if wakes != (i == OWN):  # away from what its owner wrote
        before = marks | {serving.service: now}
        return (owning(ref, _marked(before), REPLICAS, serving.replicas if wakes else 0),)
    before = {name: was for name, was in marks.items() if name != serving.service}
    was = marks.get(serving.service, serving.replicas if wakes else 0)
    back = owning(ref, _marked(before), REPLICAS, was)
    return (back,) if before else (back, Disown(ref))


async def _switch(api: Api, servers: Servers, swap: Swap, sight: Sight, i: int, wakes: bool) -> str:
    """vLLM's own sleep, of all its servers; what we do is written down before, what we undo after it."""
    serving, away = swap.servings[i], wakes != (i == OWN)
    ref, marks = sight.ref(serving.deployment), sight.before(serving.deployment)
    if away and (why := await _write(api, owning(ref, _marked(marks | {serving.service: int(not wakes)})))):
        return why
    tell = servers.wake if wakes else servers.sleep
    said = await asyncio.gather(*(tell(address) for address in sight.addresses[i]))
    if why := next((text for text in said if text), ""):
        return why
    rest = {name: was for name, was in marks.items() if name != serving.service}
    return "" if away else await _write(api, owning(ref, _marked(rest)))


def _marked(before: Mapping[str, int]) -> dict[str, str]:
    return {BEFORE_SWAP: json.dumps(before, sort_keys=True)} if before else {}


async def _write(api: Api, *writes: Write) -> str:
    for write in writes:
        if trouble := await carry_out(api, write):
            return str(trouble)
    return ""
