"""An HTTPRoute as far as it weighs the models of a job, and the steps that change those weights and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from wattlease_operator.cache import Body, Ref
from wattlease_operator.reading import at, maps, text, whole


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the route: which backend of it each model is, and its weight; columns of models."""

    place: int
    backends: tuple[int, ...]
    weights: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """The rules of a route that weigh these Services."""

    ref: Ref
    services: tuple[str, ...]
    rules: tuple[Rule, ...]

    @property
    def weights(self) -> tuple[int, ...]:
        """Of each model, over all rules."""
        return tuple(sum(column) for column in zip(*(rule.weights for rule in self.rules), strict=True))

    @property
    def grain(self) -> int:
        """Into how many parts every rule can divide its requests."""
        return min(sum(rule.weights) for rule in self.rules)

    def moved(self, shares: Sequence[float]) -> Route:
        """With these parts of each rule's weight, whose sum stays."""
        return replace(self, rules=tuple(replace(r, weights=dealt(sum(r.weights), shares)) for r in self.rules))

    def steps(self, wanted: Route) -> tuple[dict[str, Any], ...]:
        """A JSON patch that fails where a backend is another, or weighs otherwise, than was seen."""
        found: list[dict[str, Any]] = []
        for rule, new in zip(self.rules, wanted.rules, strict=True):
            for i, service in enumerate(self.services):
                path = f"/spec/rules/{rule.place}/backendRefs/{rule.backends[i]}"
                if rule.weights[i] != new.weights[i]:
                    found.append({"op": "test", "path": f"{path}/name", "value": service})
                    found.append({"op": "test", "path": f"{path}/weight", "value": rule.weights[i]})
                    found.append({"op": "replace", "path": f"{path}/weight", "value": new.weights[i]})
        return tuple(found)


def dealt(total: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Whole weights of this sum by these parts, the largest remainders rounded up."""
    exact = [total * share for share in shares]
    weights = [int(x + 1e-9) for x in exact]
    by_rest = sorted(range(len(exact)), key=lambda i: (weights[i] - exact[i], i))
    for i in by_rest[: total - sum(weights)]:
        weights[i] += 1
    return tuple(weights)


def route_of(ref: Ref, body: Body, services: Sequence[str]) -> Route | str:
    """The route, or why its weights cannot be used."""
    rules = []
    for place, rule in enumerate(maps(at(body, "spec", "rules"))):
        backends = maps(rule.get("backendRefs"))
        found = [_backend(backends, service) for service in services]
        if found[0] is None:
            continue
        if None in found:
            lacks = services[found.index(None)]
            return f"rule {place} of the route names Service {services[0]} and not {lacks}; add it with weight 0"
        places = tuple(i for i in found if i is not None)
        rules.append(Rule(place, places, tuple(whole(backends[i].get("weight"), 1) for i in places)))
    if not rules:
        return f"no rule of the route names Service {services[0]}"
    if not all(sum(rule.weights) for rule in rules):
        return "the route gives no weight to any of the models"
    return Route(replace(ref, uid=text(at(body, "metadata", "uid"))), tuple(services), tuple(rules))


def _backend(backends: Sequence[Body], service: str) -> int | None:
    """Where among a rule's backends the Service stands."""
    for i, backend in enumerate(backends):
        kind = text(backend.get("kind")) or "Service"
        if kind == "Service" and backend.get("name") == service and not text(backend.get("namespace")):
            return i
    return None
