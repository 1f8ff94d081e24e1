"""Leadership between operators of one cluster, on a Lease of coordination.k8s.io.

Rule 1: clocks of two machines are never compared. A successor has seen the Lease unchanged for its whole time to live
    on its own clock; the times in it are for people.
Rule 2: whoever writes the Lease names the version that it was made from, so that one of two writers wins.
Rule 3: an epoch counts once it is written down beside the roster (`ClusterState`), which nobody does twice. So it rises
    though the Lease is deleted. A Lease that is not there is waited for like one that is held.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from wattlease.core.lease import DRIFT_FRAC, Refused, lasts_s
from wattlease.runtime.lease.clock import Now
from wattlease.runtime.lease.leadership import LEADERSHIP_TTL_S, Term
from wattlease_operator.api import Trouble, Why
from wattlease_operator.aside import Aside
from wattlease_operator.cache import Body, Ref, Resource, uid_of
from wattlease_operator.state import Begun, ClusterState

LEASES = Resource("coordination.k8s.io", "v1", "leases")
EPOCH = "wattlease.io/epoch"


class KubeLeadership:
    """Leads by the Lease; `holder` must be a name that no other process bears, earlier ones of this pod included."""

    def __init__(
        self,
        aside: Aside,
        state: ClusterState,
        ref: Ref,
        holder: str,
        now: Now,
        ttl_s: float = LEADERSHIP_TTL_S,
    ) -> None:
        self._aside, self._state, self._ref = aside, state, ref
        self._holder, self._now, self._ttl_s = holder, now, ttl_s
        self._seen: tuple[str, ...] = ()
        self._seen_s = self._looked_s = 0.0

    def stand(self) -> Term | Refused:
        """Lead under a new epoch, if the former lease was released or has surely ended."""
        asked_s = self._now()
        lease = self._read()
        if isinstance(lease, Refused):
            return lease
        if lease is not None and (refused := self._held(lease)):
            return refused
        begun = self._state.begun()
        if isinstance(begun, Refused):
            return begun
        return (None if lease else self._missing(begun)) or self._claim(lease, begun, asked_s)

    def renew(self, term: Term) -> Term | Refused:
        """Lead on, counted from before the renewal was written."""
        asked_s = self._now()
        own = self._own(term)
        if isinstance(own, Refused):
            return own
        refused = self._write(own, term.epoch) if own else self._make_anew(term)
        return refused if isinstance(refused, Refused) else Term(term.epoch, asked_s + self._ttl_s)

    def resign(self, term: Term) -> None:
        """Let another lead at once; where that cannot be written down, the others wait until the lease has ended."""
        own = self._own(term)
        if own is not None and not isinstance(own, Refused):
            self._write(own, term.epoch, released=True)

    def _held(self, lease: Body) -> Refused | None:
        """Why another may still lead by this Lease."""
        spec = lease.get("spec") or {}
        holder, ttl_s = spec.get("holderIdentity") or "", float(spec.get("leaseDurationSeconds") or self._ttl_s)
        if holder in ("", self._holder):
            return None
        return self._unchanged("lease", lease, ttl_s, f"{holder} leads under epoch {_epoch(lease)}")

    def _missing(self, begun: Begun) -> Refused | None:
        """Why another may still lead though there is no Lease."""
        if begun.body is None:
            if self._now() - self._looked_s > self._ttl_s / 2:  # nothing looks the same before and after something
                self._seen = ()
            return self._unchanged("nothing", {}, self._ttl_s, "an operator that nothing is left of may lead")
        if begun.holder in ("", self._holder):
            return None
        return self._unchanged("state", begun.body, self._ttl_s, f"{begun.holder} leads under epoch {begun.epoch}")

    def _unchanged(self, what: str, body: Body, ttl_s: float, told: str) -> Refused | None:
        """The same version must be seen for a whole time to live."""
        meta, now_s = body.get("metadata", {}), self._now()
        seen = what, meta.get("uid", ""), meta.get("resourceVersion", "")
        if seen != self._seen:
            self._seen, self._seen_s = seen, now_s
        self._looked_s = now_s
        left_s = self._seen_s + lasts_s(max(ttl_s, self._ttl_s), DRIFT_FRAC) - now_s
        return Refused(told) if left_s > 0.0 else None

    def _claim(self, lease: Body | None, begun: Begun, asked_s: float) -> Term | Refused:
        epoch, self._seen = max(begun.epoch, _epoch(lease)) + 1, ()
        written = self._write(lease, epoch)
        refused = written if isinstance(written, Refused) else self._begin(begun, epoch, written)
        return refused or Term(epoch, asked_s + self._ttl_s)

    def _make_anew(self, term: Term) -> Refused | None:
        """The Lease was deleted under us. Whoever waits for it to stay away must see that it did not."""
        begun = self._state.begun()
        if not isinstance(begun, Begun) or (begun.epoch, begun.holder) != (term.epoch, self._holder):
            return Refused(f"epoch {term.epoch} is over: the Lease was deleted, and {begun}")
        written = self._write(None, term.epoch)
        return written if isinstance(written, Refused) else self._begin(begun, term.epoch, written)

    def _begin(self, begun: Begun, epoch: int, lease: Body) -> Refused | None:
        return self._state.begin(begun, epoch, self._holder, uid_of(lease))

    def _own(self, term: Term) -> Body | Refused | None:
        """The Lease as this term's; None where it is deleted."""
        lease = self._read()
        if lease is None or isinstance(lease, Refused):
            return lease
        holder = (lease.get("spec") or {}).get("holderIdentity")
        if (holder, _epoch(lease)) == (self._holder, term.epoch):
            return lease
        return Refused(f"epoch {term.epoch} is over: {holder or 'nobody'} leads under {_epoch(lease)}")

    def _read(self) -> Body | Refused | None:
        lease = self._aside.ask(self._aside.api.read(self._ref))
        if isinstance(lease, Trouble):
            return None if lease.why is Why.GONE else Refused(f"leadership cannot be had: {lease}")
        return lease

    def _write(self, lease: Body | None, epoch: int, *, released: bool = False) -> Refused | Body:
        body = self._lease(lease, epoch, "" if released else self._holder)
        api = self._aside.api
        new = api.create(LEASES, self._ref.namespace, body) if lease is None else api.replace(self._ref, body)
        answer = self._aside.ask(new)
        return Refused(f"the Lease is not ours: {answer}") if isinstance(answer, Trouble) else answer

    def _lease(self, lease: Body | None, epoch: int, holder: str) -> dict[str, Any]:
        was: Mapping[str, Any] = (lease or {}).get("spec") or {}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        anew = holder != was.get("holderIdentity")
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": math.ceil(self._ttl_s),
            "acquireTime": now if anew else was.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": int(was.get("leaseTransitions", 0)) + (anew and holder != ""),
        }
        meta = dict((lease or {}).get("metadata", {"name": self._ref.name, "namespace": self._ref.namespace}))
        meta["annotations"] = {**(meta.get("annotations") or {}), EPOCH: str(epoch)}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


def _epoch(lease: Body | None) -> int:
    written = ((lease or {}).get("metadata", {}).get("annotations") or {}).get(EPOCH, "0")
    return int(written) if written.isdecimal() else 0
