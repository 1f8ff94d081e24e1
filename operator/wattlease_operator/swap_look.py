"""A look at everything that one change of models concerns: its route, each model's pods, and what its servers say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from wattlease_operator.api import Api, Trouble, Why
from wattlease_operator.bodies import gpus_of, ref_of
from wattlease_operator.cache import Body, Ref
from wattlease_operator.reading import at, entries, maps, text, texts, whole
from wattlease_operator.swap import Model, home
from wattlease_operator.swap_route import Route, route_of
from wattlease_operator.swap_servers import Servers, Told
from wattlease_operator.swaps import DEPLOYMENTS, SLICES, Swap
from wattlease_operator.words import BEFORE_SWAP, CARDS, Cards

MOST_ASKED = 16
"""Servers of one model that are asked how they do; the others are like them."""

FEW_FAILURES = 2
"""Fewer of them are no share."""

Counted = tuple[float, float]
"""Requests, and those of them that failed."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen. Columns of models: `addresses` are those that its Service sends to, `counted` what its servers
    have counted; `gpus` the cards that the own model holds when it runs."""

    route: Route
    models: tuple[Model, ...]
    addresses: tuple[tuple[str, ...], ...]
    counted: tuple[Counted, ...]
    deployments: Mapping[str, Body]
    gpus: int

    def ref(self, deployment: str) -> Ref:
        """The Deployment itself, and no later one of its name."""
        return ref_of(DEPLOYMENTS, self.deployments[deployment])

    def before(self, deployment: str) -> dict[str, int]:
        """By Service, as it was before we changed it: replicas, or 1 for awake and 0 for asleep."""
        return before_swap(self.deployments[deployment])


def before_swap(body: Body) -> dict[str, int]:
    """What our annotation says of the models that a Deployment serves; nothing where it is no such thing."""
    try:
        found = json.loads(texts(at(body, "metadata", "annotations")).get(BEFORE_SWAP, "{}"))
    except ValueError:
        return {}
    return {k: v for k, v in found.items() if isinstance(v, int)} if isinstance(found, dict) else {}


async def look(
    api: Api, servers: Servers, swap: Swap, begun: Sequence[Counted | None], away: bool, cards: Cards = CARDS
) -> Sight | Trouble:
    """What there is to see, or why nothing can be done with it. `begun` is what each model had counted when it got
    weight; servers are asked only where a smaller model is wanted (`away`) or has weight."""
    route = await _route(api, swap)
    if isinstance(route, Trouble):
        return route
    deployments = await _deployments(api, swap)
    if isinstance(deployments, Trouble):
        return deployments
    addresses = await asyncio.gather(*(_addresses(api, swap.namespace, s.service) for s in swap.servings))
    if missing := next((a for a in addresses if isinstance(a, Trouble)), None):
        return missing
    found = tuple(a for a in addresses if not isinstance(a, Trouble))
    still = home(tuple(Model(weight) for weight in route.weights)) and not away
    told = [() if still else await _told(servers, swap, i, a) for i, a in enumerate(found)]
    counted = tuple((sum(t.requests for t in ts), sum(t.failures for t in ts)) for ts in told)
    models = tuple(
        _model(swap, i, route.weights[i], deployments, len(found[i]), told[i], _share(begun[i], counted[i]))
        for i in range(len(found))
    )
    return Sight(route, models, found, counted, deployments, _gpus(swap, deployments, cards))


async def _route(api: Api, swap: Swap) -> Route | Trouble:
    body = await api.read(swap.route)
    if isinstance(body, Trouble):
        return body
    route = route_of(swap.route, body, [serving.service for serving in swap.servings])
    return Trouble(f"route {swap.route.name}", Why.REFUSED, route) if isinstance(route, str) else route


async def _deployments(api: Api, swap: Swap) -> Mapping[str, Body] | Trouble:
    names = swap.deployments
    bodies = await asyncio.gather(*(api.read(Ref(DEPLOYMENTS, swap.namespace, name)) for name in names))
    found = {name: body for name, body in zip(names, bodies, strict=True) if not isinstance(body, Trouble)}
    return next((body for body in bodies if isinstance(body, Trouble)), None) or found


async def _addresses(api: Api, namespace: str, service: str) -> tuple[str, ...] | Trouble:
    """Where the Service sends requests now, by its EndpointSlices."""
    slices = await api.list(SLICES, namespace=namespace, labels=f"kubernetes.io/service-name={service}")
    if isinstance(slices, Trouble):
        return slices
    return tuple(dict.fromkeys(chain.from_iterable(_ready(body) for body in slices)))


def _ready(body: Body) -> list[str]:
    ports = maps(body.get("ports"))
    port = whole(ports[0].get("port")) if ports else 0
    if not port or body.get("addressType") not in ("IPv4", "IPv6"):
        return []
    ready = [e for e in maps(body.get("endpoints")) if at(e, "conditions", "ready") is not False]
    hosts = [text(host) for e in ready for host in entries(e.get("addresses"))[:1]]
    return [f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for host in hosts if host]


async def _told(servers: Servers, swap: Swap, i: int, addresses: Sequence[str]) -> tuple[Told, ...]:
    sleeps = swap.servings[i].sleep == "Sleep"
    return tuple(await asyncio.gather(*(servers.look(a, sleeps=sleeps) for a in addresses[:MOST_ASKED])))


def _model(
    swap: Swap, i: int, weight: int, deployments: Mapping[str, Body], ready: int, told: Sequence[Told], failed: float
) -> Model:
    serving = swap.servings[i]
    body = deployments[serving.deployment]
    wanted = whole(at(body, "spec", "replicas"), 1)
    there = whole(at(body, "status", "readyReplicas")) >= wanted and ready > 0
    words = [t.good for t in told]
    good = False if False in words else None if None in words or not words or not there else True
    busy = [t.busy for t in told]
    return Model(
        weight=weight,
        up=wanted > 0 and not any(t.asleep for t in told),
        ours=serving.service in before_swap(body),
        ready=ready > 0,
        good=good,
        busy=sum(b or 0 for b in busy) if busy and None not in busy else 0 if not ready else None,
        error_frac=failed,
    )


def _share(begun: Counted | None, counted: Counted) -> float:
    """The share of requests that failed since the model got weight; a server that began anew counts from there."""
    if begun is None:
        return 0.0
    requests, failures = (now - then if now >= then else now for now, then in zip(counted, begun, strict=True))
    return failures / max(requests, failures) if failures >= FEW_FAILURES else 0.0


def _gpus(swap: Swap, deployments: Mapping[str, Body], cards: Cards) -> int:
    own = swap.servings[0]
    body = deployments[own.deployment]
    replicas = whole(at(body, "spec", "replicas"), 1)
    if own.sleep == "Scale":
        replicas = before_swap(body).get(own.service, replicas)
    return gpus_of(at(body, "spec", "template", "spec"), cards) * replicas
