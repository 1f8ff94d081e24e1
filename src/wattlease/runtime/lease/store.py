"""The folder that grantors of one limit share: who leads, and which members and fallbacks were ever promised."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from zlib import crc32

import orjson
from pydantic import StrictBool

from wattlease.core.lease import Refused, Roster, plain, read
from wattlease.core.lease.words import Count, Name, Span, Word
from wattlease.runtime.lease.disk import replace_file

SLOT_BYTES = 1024
LOCK_WAIT_S = 1.0
LOCK_LOOK_S = 0.01


class Record(Word):
    """Who leads under which epoch; each renewal changes it, so that others see that it lives without its clock.

    `writes` counts on from leader to leader.
    """

    epoch: Count
    holder: Name
    ttl_s: Span
    writes: Count
    released: StrictBool = False


class RosterStore(Protocol):
    """Where a grantor keeps its roster. Both calls may block; trouble is a value."""

    def load(self, ttl_s: float) -> Roster | Refused:
        """The roster; an empty one of this time to live where none was ever saved."""

    def save(self, roster: Roster, epoch: int) -> Refused | None:
        """Keep the roster, durably, unless a later epoch than this has begun."""


class StateFolder:
    """A folder on a local or shared file system whose `flock` holds between all that use it.

    The leadership record lies in the very file that is locked and is overwritten in place, in two slots by turns: a
    torn write leaves the other, a full disk still takes it, and a network file system reads it anew with the lock.
    """

    def __init__(self, path: Path) -> None:
        self._leadership, self._roster = path / "leadership", path / "roster.json"

    def load(self, ttl_s: float) -> Roster | Refused:
        """The roster; an empty one of this time to live where none was ever saved."""
        try:
            data = orjson.loads(self._roster.read_bytes())
        except FileNotFoundError:
            return Roster(ttl_s=ttl_s)
        except (OSError, orjson.JSONDecodeError) as trouble:
            return Refused(f"{self._roster} cannot be read ({trouble}); {_REPAIR}")
        roster = read(Roster, data)
        return Refused(f"{self._roster}: {roster.reason}; {_REPAIR}") if isinstance(roster, Refused) else roster

    def save(self, roster: Roster, epoch: int) -> Refused | None:
        """Keep the roster, unless a later epoch has begun: a leader that was paused overwrites nothing."""
        try:
            with self.locked() as leadership:
                newest = leadership.read()
                if isinstance(newest, Record) and newest.epoch > epoch:
                    return Refused(f"epoch {newest.epoch} of {newest.holder} has begun; this one is {epoch}")
                replace_file(self._roster, orjson.dumps(plain(roster)))
        except OSError as trouble:
            return Refused(f"{self._roster} cannot be saved: {trouble}")
        return None

    @contextmanager
    def locked(self) -> Iterator[LeadershipFile]:
        """Hold the folder's lock. Raises OSError where another holds it for long, or the folder cannot be used."""
        descriptor = os.open(self._leadership, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor, self._leadership)
            yield LeadershipFile(descriptor, self._leadership)
        finally:
            os.close(descriptor)


class LeadershipFile:
    """The open, locked file of the leadership record."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self._path = descriptor, path

    def read(self) -> Record | Refused | None:
        """The newest whole record; `None` where nobody ever led."""
        data = os.pread(self._descriptor, 2 * SLOT_BYTES, 0)
        records = [record for at in (0, SLOT_BYTES) if (record := _unsealed(data[at : at + SLOT_BYTES]))]
        if not records and data.strip(b"\0"):
            return Refused(f"{self._path} holds no whole record; {_REPAIR}")
        return max(records, key=lambda record: record.writes, default=None)

    def write(self, record: Record) -> None:
        """Put the record in place of the older slot; on return it survives a power cut. Raises OSError."""
        slot = _sealed(record)
        at = SLOT_BYTES * (record.writes % 2)
        if os.pwrite(self._descriptor, slot, at) != len(slot):
            raise OSError(f"{self._path} took only a part of the record")
        os.fsync(self._descriptor)


_REPAIR = "restore it from a backup, or stop all agents for one time to live and then remove it"


def _lock(descriptor: int, path: Path) -> None:
    give_up_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as trouble:
            if time.monotonic() >= give_up_s:
                raise OSError(f"{path} is locked by another process for more than {LOCK_WAIT_S:g} s") from trouble
            time.sleep(LOCK_LOOK_S)
        else:
            return


def _sealed(record: Record) -> bytes:
    data = orjson.dumps(plain(record))
    return (b"%08x" % crc32(data) + data).ljust(SLOT_BYTES)


def _unsealed(slot: bytes) -> Record | None:
    seal, data = slot[:8], slot[8:].rstrip()
    if seal != b"%08x" % crc32(data):
        return None
    record = read(Record, orjson.loads(data))
    return record if isinstance(record, Record) else None
