"""What jobs were asked to make of themselves, kept beyond this process: smaller batches and models, and their saves.

Who suspended what stands on the objects themselves. Only what no object shows is here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from wattlease.runtime.lease.said import Said
from wattlease_operator.api import Api, Trouble, Why
from wattlease_operator.cache import Ref, Resource
from wattlease_operator.reading import at, text

log = logging.getLogger(__name__)

CONFIG_MAPS = Resource("", "v1", "configmaps")
KEY = "book.json"


class State(Protocol):
    """Something that outlives the process."""

    async def load(self) -> Mapping[str, Any] | None:
        """What was saved, empty where nothing was; `None` where that cannot be known now."""

    async def save(self, data: Mapping[str, Any]) -> bool:
        """Keep this in place of what was saved; False where it was not."""


class ConfigMapState:
    """State in a ConfigMap of the operator's own namespace."""

    def __init__(self, api: Api, namespace: str, name: str = "wattlease-book") -> None:
        self._api, self._ref = api, Ref(CONFIG_MAPS, namespace, name)
        self._said = Said(log)

    async def load(self) -> Mapping[str, Any] | None:
        """What was saved; a book that cannot be read is told, and begun anew."""
        body = await self._api.read(self._ref)
        if isinstance(body, Trouble):
            return {} if body.why == Why.GONE else None
        try:
            data = json.loads(text(at(body, "data", KEY)) or "{}")
        except ValueError as trouble:
            log.error("book begun anew: configmap=%s/%s %s", self._ref.namespace, self._ref.name, trouble)
            return {}
        return data if isinstance(data, dict) else {}

    async def save(self, data: Mapping[str, Any]) -> bool:
        """Keep this."""
        trouble = await self._api.apply(self._ref, {"data": {KEY: json.dumps(data, sort_keys=True)}}, force=True)
        if trouble is not None:
            self._said.once(logging.WARNING, "book not saved", str(trouble))
            return False
        self._said.forget("book not saved")
        return True


@dataclass(frozen=True, slots=True)
class Deeds:
    """What one job was asked for. `saved_s` is when it last had the time to save itself, unix seconds, 0 for never."""

    batch_frac: float = 1.0
    variant: str = ""
    saved_s: float = 0.0


NOTHING_ASKED = Deeds()


class Book:
    """Deeds by job id, on the event loop."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._deeds: dict[str, Deeds] = {}
        self._saved: Mapping[str, Any] | None = None
        self.read = False
        """Whether what a former leader wrote is known."""

    async def load(self) -> None:
        """Take what was saved; tried again by whoever calls where the state does not answer."""
        if (data := await self._state.load()) is not None:
            self._deeds = {str(job): _deeds(written) for job, written in data.items()}
            self._saved, self.read = data, True

    def of(self, job: str) -> Deeds:
        """What was asked of this job."""
        return self._deeds.get(job, NOTHING_ASKED)

    def write(self, job: str, **changes: Any) -> None:
        """Change what is written of a job; it outlives us after the next `save`."""
        self._deeds[job] = replace(self.of(job), **changes)

    def keep(self, jobs: Collection[str]) -> None:
        """Forget all other jobs."""
        self._deeds = {job: deeds for job, deeds in self._deeds.items() if job in jobs}

    async def save(self) -> None:
        """Keep it, if it has changed."""
        data = {job: asdict(deeds) for job, deeds in sorted(self._deeds.items()) if deeds != NOTHING_ASKED}
        if self.read and data != self._saved and await self._state.save(data):
            self._saved = data


def _deeds(written: Any) -> Deeds:
    """Values that are not of the kind that they should be count as never written."""
    frac, saved_s = at(written, "batch_frac"), at(written, "saved_s")
    return Deeds(
        float(frac) if isinstance(frac, int | float) and 0.0 < frac <= 1.0 else 1.0,
        text(at(written, "variant")),
        float(saved_s) if isinstance(saved_s, int | float) and saved_s >= 0.0 else 0.0,
    )
