"""How a service changes to a smaller model and back: weights of a route of the Gateway API, and who sleeps then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from wattlease.core.api_base import Name, Part, Percent, SomeSeconds, mistake


class Serving(Part):
    """A model behind the route: the Service that its requests come through, and the Deployment whose pods serve it."""

    service: Name
    """A backend of the route; its EndpointSlices say whether the model is ready."""

    deployment: Name
    """Whose pods serve it."""

    replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """To how many a Deployment that its owner keeps at none is woken."""

    sleep: Literal["Scale", "Sleep"] = "Scale"
    """`Scale`: to no replicas and back; `Sleep`: by vLLM's `/sleep` and `/wake_up`, the pods keep their cards."""


class SwapSpec(Part):
    """How requests are moved: a smaller model is woken, has all of them once it answers, and the large one sleeps."""

    route: Name
    """An HTTPRoute of the namespace, with the Services of all models as backends of one rule, the small ones at weight
    0."""

    own: Serving
    """Where the job's own model is served."""

    ready_seconds: SomeSeconds = 600
    """A smaller model that does not answer after this long is given up."""

    drain_seconds: SomeSeconds = 120
    """How long a model that gets no new request may take to end those that it has, where it still tells of some."""

    error_percent: Percent = 2
    """A smaller model that fails a larger share of its requests is given up."""


def refuse_mixed(swap: SwapSpec | None, smaller: Sequence[Serving | None]) -> None:
    """Raise a mistake unless all smaller models are served beside the own one, each by a Service of its own."""
    if swap is None:
        for i, serving in enumerate(smaller):
            if serving is not None:
                raise mistake(("variants", i, "serving"), "goes with swap; name the route and the own model there")
        return
    if not smaller:
        raise mistake(("swap",), "there is nothing to swap to; add variants, each with its serving")
    known = [swap.own]
    for i, serving in enumerate(smaller):
        at = ("variants", i, "serving")
        if serving is None:
            raise mistake(at, "is missing; with swap each variant says where it is served")
        if serving.service in [other.service for other in known]:
            raise mistake((*at, "service"), f"'{serving.service}' serves another model; give each a Service of its own")
        if any(_share_a_switch(serving, other) for other in known):
            text = f"'{serving.deployment}' serves another model too; to scale it would end both, write sleep: Sleep"
            raise mistake((*at, "deployment"), text)
        known.append(serving)


def _share_a_switch(one: Serving, other: Serving) -> bool:
    return one.deployment == other.deployment and "Scale" in (one.sleep, other.sleep)
