"""CONTROLLER.yaml: the hardware, its budgets, who may ask, and where state is kept, as frozen values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, model_validator

from wattlease.core.api import PowerBudget, PowerProfile
from wattlease.core.api_base import Name, Part, SomeSeconds, mistake
from wattlease.core.lease import TTL_S
from wattlease.runtime.site_words import Group

Port = Annotated[int, Field(ge=0, le=65535)]
Path = Annotated[str, Field(min_length=1, max_length=4096)]


class Listen(Part):
    """Where agents ask, and how they are known: by certificate, or on one machine by a shared secret."""

    host: str = "127.0.0.1"
    """Address to listen on."""

    port: Port = 8943
    """0 takes any free port."""

    certificate: Path | None = None
    """The grantor's own certificate, PEM."""

    key: Path | None = None
    """Its key, PEM."""

    authority: Path | None = None
    """The authority that signs the nodes' certificates, PEM."""

    secret_file: Path | None = None
    """A shared secret in place of certificates, for trials on one machine: `host` must be loopback."""

    @model_validator(mode="after")
    def _known_callers(self) -> Self:
        if self.secret_file is None and not (self.certificate and self.key and self.authority):
            told = "write certificate, key and authority, or on one machine secretFile: nobody is believed otherwise"
            raise mistake(("authority",), told)
        return self


class Page(Part):
    """The live page, health and metrics."""

    host: str = "127.0.0.1"
    """Address to listen on."""

    port: Port = 8080
    """0 takes any free port."""

    names: tuple[str, ...] = ()
    """Host names beside the address under which it may be asked."""


class ControllerSettings(Part):
    """One controller: one limit, its nodes, and the processes that share its state folder."""

    name: Name
    """What the page calls the site."""

    groups: Annotated[tuple[Group, ...], Field(min_length=1)]
    """The nodes, as they are wired and rated; a node says nothing of that itself."""

    budgets: Annotated[tuple[PowerBudget, ...], Field(min_length=1)]
    """The limits; one of them has no parent."""

    profiles: tuple[PowerProfile, ...] = ()
    """What owners agree to, by the names of their jobs."""

    listen: Listen
    """Where agents ask."""

    page: Page = Page()
    """The live page, health and metrics."""

    state_folder: Path
    """Kept over restarts, and shared with a standby controller: who leads, and every fallback ever promised."""

    record_folder: Path | None = None
    """Where each tick is recorded for `wattlease replay`; absent: nowhere."""

    tick_seconds: SomeSeconds = 1
    """Between decisions."""

    grant_seconds: Annotated[float, Field(gt=0, le=600)] = TTL_S
    """How long a grant lasts that nobody renews."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        budgets = {b.name for b in self.budgets}
        roots = [b.name for b in self.budgets if b.spec.parent is None]
        if len(roots) != 1:
            raise mistake(("budgets",), f"{len(roots)} budgets have no parent; a controller grants parts of one")
        for i, group in enumerate(self.groups):
            if group.budget not in budgets:
                raise mistake(("groups", i, "budget"), f"'{group.budget}' is not defined; there is {_list(budgets)}")
        for i, budget in enumerate(self.budgets):
            for k, storage in enumerate(budget.spec.storage):
                if storage.pcs is not None and storage.pcs.reversion_seconds < self.grant_seconds:
                    told = f"{storage.pcs.reversion_seconds} is shorter than a grant of {self.grant_seconds:g} s lasts"
                    at = ("budgets", i, "spec", "storage", k, "pcs", "reversionSeconds")
                    raise mistake(at, f"{told}: a battery must not stop before the watts that were lent on it")
        names = [name for group in self.groups for name in group.names]
        if len(set(names)) != len(names):
            raise mistake(("groups",), "two nodes have the same name; a node's name is in its certificate")
        return self


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
