"""Fills the cache: kopf's watches tell of each change at once, and lists now and then of what a watch can miss.

Rule 1: nothing is written on any object. Handlers of bare events leave no annotation and no finalizer, and kopf's
    progress, diffs, peering and events are off.
Rule 2: what was deleted while no watch ran is told by no watch, so each kind is listed anew after every break of its
    watch, and every few minutes.
Rule 3: kopf runs in a thread and an event loop of its own, because it ends all tasks of its loop when it ends; then it
    is begun anew. A kind that is not served, or that we may not list, is left out and looked for again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

import kopf
from kubernetes.aio.client import Configuration

from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.lease.said import Said
from wattlease.runtime.waiting import set_within
from wattlease_operator.api import CHUNK, Api, Trouble, Why
from wattlease_operator.cache import Cache, Resource
from wattlease_operator.connection import login

log = logging.getLogger(__name__)

LOOK_S = 60.0
"""Between two looks for kinds that are not served."""

RELIST_S = 300.0
"""Between two lists of a kind whose watch seems to be well."""

PULSE_S = 5.0
"""The API server is asked for a sign of life this often, so that `Cache.age_s` means something in a quiet cluster."""

AGAIN_S = 2.0
"""Before kopf is begun anew, or a list that failed is tried again."""

QUIET_S = 0.5
"""A break of a watch shows as many first events at once; they are waited for."""


class Watching:
    """Watches these kinds until cancelled; `fields` are server-side selectors, by kind."""

    def __init__(
        self,
        configuration: Configuration,
        api: Api,
        cache: Cache,
        resources: Iterable[Resource],
        fields: Mapping[Resource, str] | None = None,
    ) -> None:
        self._configuration, self._api, self._cache = configuration, api, cache
        self._resources = tuple(dict.fromkeys(resources))
        self._fields = fields or {}
        self._said = Said(log)
        self._listed_s: dict[Resource, float] = {}
        self._broken: set[Resource] = set()
        self._stale = asyncio.Event()

    async def run(self) -> None:
        """Watch, list and look for new kinds."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_served())
            tasks.create_task(self._relist())
            tasks.create_task(self._pulse())

    # Which kinds

    async def _watch_served(self) -> None:
        served: frozenset[Resource] = frozenset()
        watch: _Kopf | None = None
        try:
            while True:
                now = await self._served(served)
                if now != served or watch is None or watch.over():
                    for gone in served - now:
                        self._cache.leave_out(gone)
                        self._listed_s.pop(gone, None)
                    if watch:
                        await watch.end()
                    served, watch = now, _Kopf(self._configuration, now, self._fields, self._note)
                    self._break(now)
                await watch.wait(LOOK_S if now else AGAIN_S)
        finally:
            if watch:
                await watch.end()

    async def _served(self, before: frozenset[Resource]) -> frozenset[Resource]:
        """The kinds that may be listed; where nobody answers, those that could be before."""
        groups = await self._api.groups()
        found = set()
        for resource in self._resources:
            if not isinstance(groups, Trouble) and (resource.group, resource.version) not in groups:
                continue
            kind = await self._api.look_up(resource)
            known = isinstance(kind, str) and resource in before
            trouble = kind if isinstance(kind, Trouble) else None if known else await self._may_list(resource)
            if trouble is None or (trouble.why in (Why.UNREACHABLE, Why.UNKNOWN) and resource in before):
                found.add(resource)
            self._tell(resource, trouble)
        return frozenset(found)

    def _tell(self, resource: Resource, trouble: Trouble | None) -> None:
        named = f"{resource.plural}.{resource.group}".rstrip(".")
        if trouble is not None and trouble.why is Why.REFUSED:
            self._said.once(logging.WARNING, f"{named} not watched", trouble.text)
        else:
            self._said.forget(f"{named} not watched")

    async def _may_list(self, resource: Resource) -> Trouble | None:
        few = await self._api.list(resource, fields=self._fields.get(resource, ""), most=1)
        return few if isinstance(few, Trouble) else None

    # What changes

    def _note(self, resource: Resource, kind: str | None, body: Mapping[str, Any]) -> None:
        """An event of a watch; those of its first list have no kind, and mean that it was broken before."""
        if kind == "DELETED":
            self._cache.drop(resource, body)
        else:
            self._cache.put(resource, body)
        if kind is None:
            self._break((resource,))

    def _break(self, resources: Collection[Resource]) -> None:
        self._broken.update(resources)
        self._stale.set()

    # Lists

    async def _relist(self) -> None:
        while True:
            await set_within(self._stale, AGAIN_S)
            if self._stale.is_set():
                await asyncio.sleep(QUIET_S)
            self._stale.clear()
            due = {r for r, at_s in self._listed_s.items() if steady_s() - at_s >= RELIST_S} | self._broken
            self._broken -= due
            for resource in sorted(due, key=lambda r: (r.group, r.plural)):
                if not await self._list(resource):
                    self._broken.add(resource)

    async def _list(self, resource: Resource) -> bool:
        """Put what is listed in place of what is known; say whether that is done with."""
        since = self._cache.moment()
        bodies = await self._api.list(resource, fields=self._fields.get(resource, ""), chunk=CHUNK)
        if isinstance(bodies, Trouble):
            return bodies.why is Why.GONE and "410" not in bodies.text
        self._cache.replace(resource, bodies, since)
        self._listed_s[resource] = steady_s()
        return True

    async def _pulse(self) -> None:
        """Any answer is a sign of life, of which `Api` tells the cache; in a silence watches may have missed much."""
        silent = False
        while True:
            silent, was = not await self._api.alive(), silent
            if was and not silent:
                self._break(tuple(self._listed_s))
            await asyncio.sleep(PULSE_S)


class _Kopf:
    """kopf in a thread of its own, from construction to `end`; what it hears is noted in the loop that made it."""

    def __init__(
        self,
        configuration: Configuration,
        resources: Collection[Resource],
        fields: Mapping[Resource, str],
        note: Any,
    ) -> None:
        self._home, self._note = asyncio.get_running_loop(), note
        self._stop, self._ended = asyncio.Event(), asyncio.Event()  # the first is of kopf's loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = threading.Event()
        self._configuration = configuration
        self._registry, self._settings = self._registered(resources), _settings(fields)
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        if resources:
            self._thread.start()

    def over(self) -> bool:
        """Whether it has ended, by whatever reason."""
        return self._ended.is_set()

    async def wait(self, span_s: float) -> None:
        """Until it ends, and a little longer; or for so long."""
        if await set_within(self._ended, span_s):
            await asyncio.sleep(AGAIN_S)

    async def end(self) -> None:
        """Stop watching."""
        if not self._thread.is_alive():
            return
        await asyncio.to_thread(self._begun.wait)
        if self._loop and not self._loop.is_closed():
            with suppress(RuntimeError):  # it ended by itself just now
                self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join, 15.0)

    def _registered(self, resources: Collection[Resource]) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        for resource in resources:
            self._follow(registry, resource)
        return registry

    async def _login(self, **_: Any) -> kopf.ConnectionInfo:
        return await login(self._configuration)

    def _follow(self, registry: kopf.OperatorRegistry, resource: Resource) -> None:
        async def heard(event: Any, **_: Any) -> None:
            self._home.call_soon_threadsafe(self._note, resource, event["type"], dict(event["object"]))

        name = f"{resource.plural}.{resource.group}"
        kopf.on.event(resource.group, resource.version, resource.plural, id=name, registry=registry)(heard)

    def _run(self) -> None:
        try:
            asyncio.run(self._operator())
        except Exception as trouble:  # whatever it is, kopf is begun anew
            log.warning("watches ended, they are begun anew: %s: %s", type(trouble).__name__, trouble)
        finally:
            self._begun.set()
            with suppress(RuntimeError):  # the process is ending
                self._home.call_soon_threadsafe(self._ended.set)

    async def _operator(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._begun.set()
        await kopf.operator(
            registry=self._registry,
            settings=self._settings,
            clusterwide=True,
            standalone=True,
            stop_flag=self._stop,
        )


def _settings(fields: Mapping[Resource, str]) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.chunk_size = CHUNK
    settings.watching.server_timeout = 300  # an API server takes no fraction
    settings.watching.connect_timeout = 5.0
    settings.networking.request_timeout = 30.0
    settings.networking.error_backoffs = (1.0, 2.0, 4.0)
    settings.process.ultimate_exiting_timeout = None
    settings.queueing.exit_timeout = 0.5
    for resource, selector in fields.items():
        settings.watching.field_selectors[resource.group, resource.version, resource.plural] = selector
    return settings
