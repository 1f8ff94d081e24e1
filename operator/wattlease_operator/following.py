"""What the cluster's objects come to, looked at now and then; what vanishes suddenly is held to for a while.

A limit does not end by accident: while the kind PowerBudget itself is gone, and for two minutes after the last budget
was deleted, the last ones hold. A machine does not stop drawing because its Node object was deleted: while its agent
still speaks it stays a member.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace

from wattlease.core.api import API_VERSION
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.lease.said import Said
from wattlease_operator.cache import Body, Cache, Key, Resource
from wattlease_operator.kinds import ALWAYS, NODES
from wattlease_operator.settings import OperatorSettings
from wattlease_operator.site_of_cluster import ClusterSite, Good, site_of_cluster

log = logging.getLogger(__name__)

GROUP, VERSION = API_VERSION.split("/")
BUDGETS = Resource(GROUP, VERSION, "powerbudgets", namespaced=False)
PROFILES = Resource(GROUP, VERSION, "powerprofiles")

NEEDED = (BUDGETS, PROFILES, *ALWAYS)
"""Kinds without whose lists nothing is decided: a job that is not known yet would be taken for an idle card."""

GRACE_S = 120.0
"""How long budgets hold that were all deleted: longer than it takes to notice that their kind is."""

LINGER_S = 600.0
"""How long a node without a Node object stays a member after its agent was last heard."""


class Following:
    """Follows the objects; `site` is the newest of what they come to, and the same object while that is the same."""

    def __init__(self, settings: OperatorSettings, cache: Cache, now: Now = steady_s) -> None:
        self._settings, self._cache, self._now = settings, cache, now
        self._said = Said(log)
        self._looked: tuple[object, ...] = ()
        self._held_s = float("-inf")
        self._nodes: dict[Key, Body] = {}
        self.site = ClusterSite(None, "the cluster has not been listed yet", (), Good())
        self.generations: Mapping[str, int] = {}
        """Of which generation of each budget `site` tells."""

    def look(self, heard_s: Mapping[str, float]) -> ClusterSite:
        """The newest; `heard_s` says when each agent was heard last, on the steady clock."""
        missing = [r.plural for r in NEEDED if not self._cache.complete(r)]
        if missing:
            return self._hold(replace(self.site, settings=None, waits=f"not listed yet: {', '.join(missing)}"))
        lingering = self._lingering(heard_s)
        looked = (*(self._cache.revision(r) for r in (BUDGETS, PROFILES, NODES)), frozenset(lingering))
        if looked != self._looked or self.site.settings is None:
            self._looked = looked
            budgets = self._cache.of(BUDGETS)
            nodes = (*self._cache.of(NODES).values(), *(self._nodes[key] for key in lingering))
            profiles = self._cache.of(PROFILES).values()
            found = site_of_cluster(self._settings, nodes, budgets.values(), profiles, self.site.good)
            self.generations = {name: int(b["metadata"].get("generation", 0)) for (_, name), b in budgets.items()}
            self._hold(found)
        return self.site

    def _hold(self, found: ClusterSite) -> ClusterSite:
        before, now_s = self.site, self._now()
        if found.settings is not None:
            self._held_s = now_s
        elif before.settings is not None and (now_s - self._held_s < GRACE_S or not self._cache.complete(BUDGETS)):
            self._said.once(logging.ERROR, "nothing to hold to, the last budgets hold for now", found.waits)
            found = replace(found, settings=before.settings, waits="", good=before.good)
        if found.settings == before.settings:
            found = replace(found, settings=before.settings)
        self._tell(found)
        self.site = found
        return found

    def _lingering(self, heard_s: Mapping[str, float]) -> Collection[Key]:
        """Nodes that are gone from the cluster and whose agents are not."""
        here = self._cache.of(NODES)
        since_s = self._now() - LINGER_S
        gone = {key: body for key, body in self._nodes.items() if key not in here}
        left = {key: body for key, body in gone.items() if heard_s.get(key[1], float("-inf")) > since_s}
        self._nodes = {**here, **left}
        return left.keys()

    def _tell(self, found: ClusterSite) -> None:
        for refusal in found.refusals:
            named = "/".join(part for part in (refusal.namespace, refusal.name) if part)
            self._said.once(logging.WARNING, f"{refusal.kind} {named}", refusal.text)
        if found.waits:
            self._said.once(logging.INFO, "waits", found.waits)
        else:
            self._said.forget("waits")


def refused_budgets(site: ClusterSite) -> Mapping[str, str]:
    """Why the newest form of a budget is not the one that stands, by its name."""
    return {refusal.name: refusal.text for refusal in site.refusals if refusal.kind == "PowerBudget"}
