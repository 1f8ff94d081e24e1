"""What must outlive every operator, in ConfigMaps of its namespace: epoch and roster, and what was learned of jobs.

The newest epoch stands in the very object that holds the roster, and each write names the version that it was made
from: a leader that was paused overwrites nothing, and an epoch never falls though the Lease object is deleted.
"""

from __future__ import annotations

import base64
import gzip
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from wattlease.core.lease import Refused, Roster, plain, read
from wattlease_operator.api import Trouble, Why
from wattlease_operator.aside import Aside
from wattlease_operator.cache import Body, Ref, Resource

CONFIGMAPS = Resource("", "v1", "configmaps")

BYTES_MAX = 900_000
"""An API server refuses an object of more than a megabyte."""

_REPAIR = "restore it from a backup, or stop all agents for one time to live and then delete it"


@dataclass(frozen=True, slots=True)
class Begun:
    """The newest epoch that ever began, and who leads it; `body` is the object as it was read, None where none is."""

    epoch: int
    holder: str
    body: Body | None


class ClusterState:
    """The ConfigMap of epoch and roster: a `RosterStore`. Every call blocks; trouble is a value."""

    def __init__(self, aside: Aside, namespace: str, name: str = "wattlease-state") -> None:
        self._aside, self._ref = aside, Ref(CONFIGMAPS, namespace, name)

    def load(self, ttl_s: float) -> Roster | Refused:
        """The roster; an empty one of this time to live where none was ever saved."""
        begun = self.begun()
        if isinstance(begun, Refused):
            return begun
        packed = (begun.body or {}).get("binaryData", {}).get("roster")
        if packed is None:
            return Roster(ttl_s=ttl_s)
        try:
            roster = read(Roster, unpacked(packed))
        except (ValueError, OSError, EOFError) as trouble:
            roster = Refused(str(trouble))
        named = f"ConfigMap {self._ref.namespace}/{self._ref.name}"
        return Refused(f"{named}: {roster.reason}; {_REPAIR}") if isinstance(roster, Refused) else roster

    def save(self, roster: Roster, epoch: int) -> Refused | None:
        """Keep the roster, unless a later epoch has begun."""
        begun = self.begun()
        if isinstance(begun, Refused):
            return begun
        if begun.epoch > epoch:
            return Refused(f"epoch {begun.epoch} of {begun.holder} has begun; this one is {epoch}")
        return self._write(begun, {"epoch": str(epoch)}, {"roster": packed(plain(roster))})

    def begun(self) -> Begun | Refused:
        """What is written. Where nothing is, the epoch is of now: it was lower whenever else there was nothing."""
        body = self._aside.ask(self._aside.api.read(self._ref))
        if isinstance(body, Trouble):
            return Begun(int(time.time()), "", None) if body.why is Why.GONE else Refused(str(body))
        data = body.get("data") or {}
        try:
            return Begun(int(data["epoch"]), str(data.get("holder", "")), body)
        except (KeyError, ValueError):
            return Refused(f"ConfigMap {self._ref.namespace}/{self._ref.name} has no epoch; {_REPAIR}")

    def begin(self, begun: Begun, epoch: int, holder: str, lease: str) -> Refused | None:
        """Write down that this epoch begins, by the Lease of this uid, unless anything was written since `begun`."""
        return self._write(begun, {"epoch": str(epoch), "holder": holder, "lease": lease}, {})

    def _write(self, begun: Begun, data: Mapping[str, str], binary: Mapping[str, str]) -> Refused | None:
        body: dict[str, Any] = dict(begun.body) if begun.body else head(self._ref)
        body["data"] = {**(body.get("data") or {}), **data}
        body["binaryData"] = {**(body.get("binaryData") or {}), **binary}
        return _written(self._aside, self._ref, body)


class ClusterFile:
    """Bytes under a name in the namespace, replaced whole: a `Kept`. Raises OSError."""

    def __init__(self, aside: Aside, namespace: str, name: str) -> None:
        self._aside, self._ref = aside, Ref(CONFIGMAPS, namespace, name)

    def __str__(self) -> str:
        return f"ConfigMap {self._ref.namespace}/{self._ref.name}"

    def read(self) -> bytes:
        """FileNotFoundError where nothing was ever written."""
        body = self._aside.ask(self._aside.api.read(self._ref))
        if isinstance(body, Trouble):
            raise FileNotFoundError(str(self)) if body.why is Why.GONE else OSError(str(body))
        packed = (body.get("binaryData") or {}).get("kept")
        if packed is None:
            raise FileNotFoundError(str(self))
        try:
            return gzip.decompress(base64.b64decode(packed))
        except (ValueError, EOFError) as trouble:
            raise OSError(f"{self} is no gzip: {trouble}") from trouble

    def write(self, data: bytes) -> None:
        """Put these in place of what is there."""
        body = {**head(self._ref), "binaryData": {"kept": base64.b64encode(gzip.compress(data, 6)).decode()}}
        if refused := _written(self._aside, self._ref, body):
            raise OSError(refused.reason)


def packed(value: object) -> str:
    """A value as an object of the API server can carry it: JSON, a tenth of its size."""
    return base64.b64encode(gzip.compress(orjson.dumps(value), 6, mtime=0)).decode()


def unpacked(text: str) -> Any:
    """What `packed` made. Raises ValueError, OSError or EOFError."""
    return orjson.loads(gzip.decompress(base64.b64decode(text)))


def head(ref: Ref) -> dict[str, Any]:
    """The beginning of a new ConfigMap."""
    meta = {"name": ref.name, "namespace": ref.namespace, "labels": {"app.kubernetes.io/name": "wattlease"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


def _written(aside: Aside, ref: Ref, body: Mapping[str, Any]) -> Refused | None:
    """Replace it; where none is, create it. A body that names a version replaces that version only."""
    if len(orjson.dumps(body)) > BYTES_MAX:
        return Refused(f"ConfigMap {ref.name} would be larger than {BYTES_MAX} bytes")
    answer = aside.ask(aside.api.replace(ref, body))
    known = "resourceVersion" in body["metadata"]
    if isinstance(answer, Trouble) and answer.why is Why.GONE and not known:
        answer = aside.ask(aside.api.create(ref.resource, ref.namespace, body))
    return Refused(str(answer)) if isinstance(answer, Trouble) else None
