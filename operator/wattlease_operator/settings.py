"""OPERATOR.yaml: what no object of the cluster says, as frozen values; budgets, profiles and nodes are its objects."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from wattlease.core.api_base import Name, Part, SomeSeconds, Watts, mistake
from wattlease.core.gpu_models import GPU_MODELS, gpu_model
from wattlease.core.lease import TTL_S
from wattlease.runtime.controller.settings import Page, Path, Port
from wattlease.runtime.controller.share_settings import ShareSettings
from wattlease.runtime.lease.leadership import LEADERSHIP_TTL_S
from wattlease.runtime.site_words import Card, Overhead

Account = Annotated[
    str, Field(max_length=317, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?:[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
]


class Listen(Part):
    """Where agents ask, and how they are known: by certificate, by their pods' tokens, or in a trial by a secret."""

    host: str = "0.0.0.0"
    """Address to listen on."""

    port: Port = 8943
    """0 takes any free port."""

    certificate: Path | None = None
    """The operator's own certificate, PEM."""

    key: Path | None = None
    """Its key, PEM."""

    authority: Path | None = None
    """The authority that signs the nodes' certificates, PEM."""

    accounts: tuple[Account, ...] = ()
    """Service accounts under which agents run, `namespace:name`, where they show their pods' tokens instead."""

    secret_file: Path | None = None
    """A shared secret in place of all these, for trials on one machine: `host` must be loopback."""

    @model_validator(mode="after")
    def _known_callers(self) -> Self:
        if self.secret_file is None and not (self.certificate and self.key):
            raise mistake(("certificate",), "write certificate and key: agents must know whom they obey")
        if [bool(self.authority), bool(self.accounts), self.secret_file is not None].count(True) != 1:
            told = "write authority (agents show certificates) or accounts (they show tokens), one of them"
            raise mistake(("accounts",), told)
        return self


class Product(Part):
    """What a node with cards of one product may draw. What is absent is reckoned from the card's own figures."""

    gpu_model: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    """A model of the library, such as `H100`, or any name beside `card`; absent: what the product's name says."""

    card: Card | None = None
    """The card's own range; absent: the library's."""

    node_nameplate_watts: Watts | None = None
    """What the maker says that a node may draw; absent: its overhead with every card at its rating."""

    node_fallback_watts: Watts | None = None
    """What a node may draw without a grant; absent: its overhead with every card at its lowest cap."""

    overhead: Overhead | None = None
    """The node's draw beyond its GPUs; absent: that of `otherProducts`."""

    @model_validator(mode="after")
    def _known_card(self) -> Self:
        if self.gpu_model and self.card is None and gpu_model(self.gpu_model) is None:
            told = (
                f"'{self.gpu_model}' is not in the library ({', '.join(sorted(GPU_MODELS))}); write its range as card"
            )
            raise mistake(("gpuModel",), told)
        return self


class OperatorSettings(Part):
    """One operator: one cluster, and the processes that stand by for each other."""

    cluster: Name
    """What jobs and the page call the cluster."""

    namespace: Name = "wattlease"
    """Where it keeps its Lease and its state."""

    root_budget: Name | None = None
    """The PowerBudget without parent that this cluster hangs on; to be said where there are several."""

    gpu_resource: Annotated[str, Field(min_length=1, max_length=253)] = "nvidia.com/gpu"
    """What pods ask for."""

    product_label: Annotated[str, Field(min_length=1, max_length=317)] = "nvidia.com/gpu.product"
    """The node label that names the cards."""

    count_label: Annotated[str, Field(min_length=1, max_length=317)] = "nvidia.com/gpu.count"
    """The node label that counts them; where it is missing the node's capacity does."""

    products: dict[str, Product] = Field(default_factory=dict)
    """Nodes by the value of their product label."""

    other_products: Product = Product(overhead=Overhead(floor_watts=1700.0, per_it_percent=14.0))
    """Nodes of any other; without `gpuModel` a card that nobody knows counts as the library's hungriest."""

    listen: Listen
    """Where agents ask."""

    share: ShareSettings | None = None
    """The facility that leases this cluster its watts; absent: the root budget is all there is."""

    page: Page = Page()
    """The live page, health and metrics."""

    state_folder: Path = "/var/lib/wattlease"
    """For accounts of jobs that ended and what meters and batteries keep; all else that must last is in the cluster."""

    record_folder: Path | None = None
    """Where each tick is recorded for `wattlease replay`; absent: nowhere."""

    kubeconfig: Path | None = None
    """How the API server is reached; absent: as `kubectl` would, and in a pod as its service account."""

    tick_seconds: SomeSeconds = 1
    """Between decisions."""

    grant_seconds: Annotated[float, Field(gt=0, le=600)] = TTL_S
    """How long a grant lasts that nobody renews."""

    leadership_seconds: Annotated[float, Field(ge=2, le=60)] = LEADERSHIP_TTL_S
    """How long an operator leads that cannot renew its Lease: another waits for it as long, and nodes fall back where
    an API server is away for this and a grant's length together."""
