"""Which services may change their models, and where each model is served: what owners wrote in their profiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wattlease.core.api import PowerProfile
from wattlease.core.api_swap import Serving
from wattlease_operator.cache import Ref, Resource
from wattlease_operator.swap import Rules

ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes")
SLICES = Resource("discovery.k8s.io", "v1", "endpointslices")
DEPLOYMENTS = Resource("apps", "v1", "deployments")

WRITTEN = (ROUTES, DEPLOYMENTS)
"""Read and written only where a profile names them, and not watched."""


@dataclass(frozen=True, slots=True)
class Swap:
    """One service: its own model first, its smaller ones after it; `names` are the variants', empty for the own."""

    namespace: str
    profile: str
    route: Ref
    servings: tuple[Serving, ...]
    names: tuple[str, ...]
    rules: Rules

    @property
    def job(self) -> str:
        """The job that swaps, as the core calls it."""
        return f"deployment/{self.namespace}/{self.servings[0].deployment}"

    @property
    def deployments(self) -> tuple[str, ...]:
        """Of the models, each once."""
        return tuple(dict.fromkeys(serving.deployment for serving in self.servings))

    def place(self, variant: str) -> int:
        """Where among the models this one is; the own one's place where there is none of that name."""
        return self.names.index(variant) if variant in self.names else 0


def swaps_of(profiles: Iterable[PowerProfile]) -> Mapping[str, Swap]:
    """By job; of several profiles that name one Deployment the first by name holds."""
    found: dict[str, Swap] = {}
    for profile in sorted(profiles, key=lambda p: p.name):
        swap = _swap(profile)
        if swap is not None:
            found.setdefault(swap.job, swap)
    return found


def _swap(profile: PowerProfile) -> Swap | None:
    spec, namespace = profile.spec, profile.metadata.namespace
    if spec.swap is None or namespace is None:  # a route is some namespace's
        return None
    small = [(v.name, v.serving) for v in spec.variants if v.serving is not None]
    return Swap(
        namespace,
        profile.name,
        Ref(ROUTES, namespace, spec.swap.route),
        (spec.swap.own, *(serving for _, serving in small)),
        ("", *(name for name, _ in small)),
        Rules(spec.swap.ready_seconds, spec.swap.drain_seconds, spec.swap.error_percent / 100.0),
    )
