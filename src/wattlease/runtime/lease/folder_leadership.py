"""Leadership between processes that share a folder, as two Slurm daemons share their state's."""

from __future__ import annotations

from wattlease.core.lease import DRIFT_FRAC, Refused, lasts_s
from wattlease.runtime.lease.clock import Now
from wattlease.runtime.lease.leadership import LEADERSHIP_TTL_S, Term
from wattlease.runtime.lease.store import LeadershipFile, Record, StateFolder

HOLDER_MAX_BYTES = 253


class FolderLeadership:
    """Leads by the record in the folder.

    `holder` must be a name that no other process bears, earlier ones of this daemon included. Clocks of two machines
    are never compared: a successor has seen the record unchanged for its whole time to live on its own clock.
    """

    def __init__(self, folder: StateFolder, holder: str, now: Now, ttl_s: float = LEADERSHIP_TTL_S) -> None:
        if len(holder.encode()) > HOLDER_MAX_BYTES:
            raise ValueError(f"holder {holder:.40}... is longer than {HOLDER_MAX_BYTES} bytes")
        self._folder, self._holder, self._now, self._ttl_s = folder, holder, now, ttl_s
        self._seen: Record | None = None
        self._seen_s = 0.0

    def stand(self) -> Term | Refused:
        """Lead under a new epoch, if the former lease was released or has surely ended."""
        try:
            asked_s = self._now()
            with self._folder.locked() as file:
                newest = file.read()
                if isinstance(newest, Refused):
                    return newest
                return self._standing(newest) or self._claim(file, newest, asked_s)
        except OSError as trouble:
            return Refused(f"leadership cannot be had: {trouble}")

    def renew(self, term: Term) -> Term | Refused:
        """Lead on, counted from before the renewal was written."""
        try:
            asked_s = self._now()
            with self._folder.locked() as file:
                newest = self._own(file, term)
                if isinstance(newest, Refused):
                    return newest
                file.write(newest.model_copy(update={"writes": newest.writes + 1}))
        except OSError as trouble:
            return Refused(f"leadership cannot be renewed: {trouble}")
        return Term(term.epoch, asked_s + self._ttl_s)

    def resign(self, term: Term) -> None:
        """Let another lead at once; where that cannot be written down, the others wait until the lease has ended."""
        try:
            with self._folder.locked() as file:
                newest = self._own(file, term)
                if isinstance(newest, Record):
                    file.write(newest.model_copy(update={"writes": newest.writes + 1, "released": True}))
        except OSError:
            return

    def _standing(self, newest: Record | None) -> Refused | None:
        if newest is None or newest.released:
            return None
        now_s = self._now()
        if newest != self._seen:
            self._seen, self._seen_s = newest, now_s
        left_s = self._seen_s + lasts_s(newest.ttl_s, DRIFT_FRAC) - now_s
        return Refused(f"{newest.holder} leads under epoch {newest.epoch}") if left_s > 0.0 else None

    def _claim(self, file: LeadershipFile, newest: Record | None, asked_s: float) -> Term:
        epoch, writes = (newest.epoch + 1, newest.writes + 1) if newest else (1, 0)
        file.write(Record(epoch=epoch, holder=self._holder, ttl_s=self._ttl_s, writes=writes))
        return Term(epoch, asked_s + self._ttl_s)

    def _own(self, file: LeadershipFile, term: Term) -> Record | Refused:
        newest = file.read()
        if isinstance(newest, Record) and (newest.epoch, newest.holder) == (term.epoch, self._holder):
            return Refused(f"epoch {term.epoch} was released") if newest.released else newest
        return Refused(f"epoch {term.epoch} is over: the folder says {newest}")
