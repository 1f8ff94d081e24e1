"""Bodies as an API server tells them, and a pure server-side apply to see what our writes make of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from wattlease_operator.cache import Body, Cache, Resource
from wattlease_operator.kinds import CHECKS, HPAS, JOBS, KIND, NODES, PODS, SCALED_OBJECTS, WORKLOADS
from wattlease_operator.writes import Apply, Disown, Steps, Write

T0 = "2026-11-21T10:00:00Z"
T0_S = 1795255200.0
GPU = "nvidia.com/gpu"
UPDATE = "wattlease by a JSON patch"
LIST_KEYS = ("name", "type")
"""By which the API server knows entries of the lists that we write again."""


def meta(name: str, namespace: str = "ml", **more: Any) -> dict[str, Any]:
    found = {"name": name, "uid": f"uid-{name}", "creationTimestamp": T0, "resourceVersion": "1", **more}
    return found | ({"namespace": namespace} if namespace else {})


def owned_by(kind: str, name: str) -> list[dict[str, Any]]:
    return [{"kind": kind, "name": name, "uid": f"uid-{name}", "controller": True}]


def pod_spec(gpus: int) -> dict[str, Any]:
    return {"containers": [{"name": "main", "resources": {"limits": {GPU: str(gpus)}}}]}


def pod(
    name: str, gpus: int = 4, *, node: str = "", phase: str = "Pending", owner: tuple[str, str] | None = None,
    gates: tuple[str, ...] = (), namespace: str = "ml", leaves: bool = False, priority: int = 0, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    head = meta(name, namespace, **more) | ({"ownerReferences": owned_by(*owner)} if owner else {})
    head |= {"deletionTimestamp": T0} if leaves else {}
    spec = pod_spec(gpus) | {"schedulingGates": [{"name": g} for g in gates], "priority": priority}
    spec |= {"nodeName": node} if node else {}
    return {"metadata": head, "spec": spec, "status": {"phase": phase}}


def job(
    name: str, gpus: int = 4, *, pods: int = 1, suspend: bool = False, namespace: str = "ml", **more: Any
) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod_spec(gpus)}
    return {
        "metadata": meta(name, namespace, **more),
        "spec": {"parallelism": pods, "suspend": suspend, "template": template},
        "status": {},
    }


def workload(
    name: str, owner: tuple[str, str], *, state: str = "Pending", reserved: bool = True, admitted: bool = False,
    checks: tuple[str, ...] = ("power",), annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    told = [("QuotaReserved", reserved), ("Admitted", admitted)]
    return {
        "metadata": meta(
            name, ownerReferences=owned_by(*owner), **({"annotations": annotations} if annotations else {})
        ),
        "spec": {"queueName": "gpus", "priority": 7},
        "status": {
            "conditions": [{"type": kind, "status": "True" if true else "False"} for kind, true in told],
            "admissionChecks": [
                {"name": c, "state": state, "lastTransitionTime": T0, "message": ""} for c in checks if reserved
            ],
        },
    }


def check(name: str = "power", controller: str = "wattlease.io/power") -> dict[str, Any]:
    return {"metadata": meta(name, "", generation=1), "spec": {"controllerName": controller}}


def hpa(name: str, most: int, *, least: int = 1, target: str = "chat", **more: Any) -> dict[str, Any]:
    spec = {"minReplicas": least, "maxReplicas": most, "scaleTargetRef": {"kind": "Deployment", "name": target}}
    return {"metadata": meta(name, **more), "spec": spec}


def node(name: str, *taints: str, ready: bool = True) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    return {
        "metadata": meta(name, ""),
        "spec": {"taints": [{"key": t} for t in taints]},
        "status": {"conditions": conditions},
    }


def cluster(now: Any = None, **objects: list[Body]) -> Cache:
    """A cache that has listed these, by plural."""
    cache = Cache(now) if now else Cache()
    for plural, resource in RESOURCES.items():
        cache.replace(resource, objects.get(plural, []), cache.moment())
    return cache


RESOURCES: dict[str, Resource] = {
    r.plural: r
    for r in (PODS, NODES, JOBS, WORKLOADS, CHECKS, HPAS, SCALED_OBJECTS, *(kind.resource for kind in KIND.values()))
}


class Server:
    """One object on a server that keeps who owns what; our own part of it is `wattlease`'s."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.leaves = dict(flat(body))
        self.owners: dict[tuple[str, ...], set[str]] = {path: {"user"} for path in self.leaves}

    def body(self) -> dict[str, Any]:
        return shaped(self.leaves)

    def write(self, write: Write) -> None:
        match write:
            case Apply(_, fields, subresource):
                self._apply(f"wattlease/{subresource}", dict(flat(fields)))
            case Steps(_, steps):
                self._steps(steps)
            case Disown(_, operation):
                for owners in self.owners.values():
                    owners -= {"Apply": {"wattlease/"}, "Update": {UPDATE}}.get(operation, {"wattlease/", UPDATE})

    def update(self, path: tuple[str, ...], value: Any, who: str = "user") -> None:
        """Somebody sets a value by an ordinary write, which takes it from whoever owned another."""
        if self.leaves.get(path) != value:
            self.leaves[path], self.owners[path] = value, {who}

    def _apply(self, manager: str, wanted: dict[tuple[str, ...], Any]) -> None:
        for path, value in wanted.items():
            if self.leaves.get(path) != value:
                self.leaves[path], self.owners[path] = value, set()
            self.owners[path].add(manager)
        for path in [p for p, owners in self.owners.items() if manager in owners and p not in wanted]:
            self.owners[path].discard(manager)
            if not self.owners[path]:
                del self.leaves[path], self.owners[path]

    def _steps(self, steps: tuple[Mapping[str, Any], ...]) -> None:
        body: Any = copy.deepcopy(self.body())
        for step in steps:
            *above, last = step["path"].strip("/").split("/")
            there = body
            for name in above:
                there = there[int(name)] if isinstance(there, list) else there[name]
            last = last.replace("~1", "/")
            if step["op"] == "test":
                assert there[last] == step["value"]
            elif step["op"] == "replace":
                there[last] = step["value"]
            else:
                del there[int(last)]
        leaves = dict(flat(body))
        moved = {path for path, value in leaves.items() if self.leaves.get(path) != value}
        self.owners = {path: {UPDATE} if path in moved else self.owners[path] for path in leaves}
        self.leaves = leaves


def flat(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The leaves of a body by their paths; entries of lists by name or type, where they have one."""
    if isinstance(value, Mapping) and value:
        for name, below in value.items():
            yield from flat(below, (*path, name))
    elif isinstance(value, list) and value and all(isinstance(v, Mapping) and keyed(v) for v in value):
        for entry in value:
            yield from flat(entry, (*path, f"[{keyed(entry)}]"))
    elif path:
        yield path, value


def keyed(entry: Mapping[str, Any]) -> str:
    return next((str(entry[k]) for k in LIST_KEYS if k in entry), "")


def shaped(leaves: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """What `flat` took apart."""
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        here = tree
        for name in path[:-1]:
            here = here.setdefault(name, {})
        here[path[-1]] = value
    return _lists(tree)  # type: ignore[no-any-return]


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    below = {name: _lists(v) for name, v in value.items()}
    return list(below.values()) if below and all(name.startswith("[") for name in below) else below
