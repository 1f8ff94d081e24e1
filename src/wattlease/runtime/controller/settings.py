"""CONTROLLER.yaml: the hardware, its budgets, who may ask, and where state is kept, as frozen values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, model_validator

from wattlease.core.api import PowerBudget, PowerProfile
from wattlease.core.api_base import Name, Part, SomeSeconds, mistake
from wattlease.core.lease import TTL_S
from wattlease.runtime.controller.share_settings import ShareSettings
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


class GrantorSettings(Part):
    """One grantor: one limit, and the processes that share its state folder."""

    name: Name
    """What the page calls the site."""

    budgets: Annotated[tuple[PowerBudget, ...], Field(min_length=1)]
    """The limits; one of them has no parent."""

    listen: Listen
    """Where its holders ask."""

    page: Page = Page()
    """The live page, health and metrics."""

    state_folder: Path
    """Kept over restarts, and shared with a standby: who leads, and every fallback ever promised."""

    tick_seconds: SomeSeconds = 1
    """Between decisions."""

    grant_seconds: Annotated[float, Field(gt=0, le=600)] = TTL_S
    """How long a grant lasts that nobody renews."""

    @model_validator(mode="after")
    def _one_root(self) -> Self:
        roots = [b.name for b in self.budgets if b.spec.parent is None]
        if len(roots) != 1:
            raise mistake(("budgets",), f"{len(roots)} budgets have no parent; a grantor grants parts of one")
        return self

    @model_validator(mode="after")
    def _batteries_outlast_grants(self) -> Self:
        for i, budget in enumerate(self.budgets):
            for k, storage in enumerate(budget.spec.storage):
                pcs, grant_s = storage.pcs, self.grant_seconds
                if pcs is not None and pcs.reversion_seconds < grant_s + 2 * pcs.heartbeat_seconds:
                    least = f"a grant of {grant_s:g} s and two heartbeats of {pcs.heartbeat_seconds} s"
                    why = "a battery must not stop before the watts that were lent on it"
                    at = ("budgets", i, "spec", "storage", k, "pcs", "reversionSeconds")
                    raise mistake(at, f"{pcs.reversion_seconds} is shorter than {least}: {why}")
        return self


class ControllerSettings(GrantorSettings):
    """One controller: one limit, its nodes, and where it leases the limit from if it is a part of a larger one."""

    groups: Annotated[tuple[Group, ...], Field(min_length=1)]
    """The nodes, as they are wired and rated; a node says nothing of that itself."""

    profiles: tuple[PowerProfile, ...] = ()
    """What owners agree to, by the names of their jobs."""

    record_folder: Path | None = None
    """Where each tick is recorded for `wattlease replay`; absent: nowhere."""

    share: ShareSettings | None = None
    """The facility that leases this cluster its watts; absent: the budgets here are all there is."""

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        budgets = {b.name for b in self.budgets}
        for i, group in enumerate(self.groups):
            if group.budget not in budgets:
                raise mistake(("groups", i, "budget"), f"'{group.budget}' is not defined; there is {_list(budgets)}")
        names = [name for group in self.groups for name in group.names]
        if len(set(names)) != len(names):
            raise mistake(("groups",), "two nodes have the same name; a node's name is in its certificate")
        return self

    @model_validator(mode="after")
    def _facility_has_the_batteries(self) -> Self:
        for i, budget in enumerate(self.budgets if self.share else ()):
            if budget.spec.storage:
                told = "stands behind the facility's meter, and its watts are leased from there; write it there"
                raise mistake(("budgets", i, "spec", "storage"), told)
        return self


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
