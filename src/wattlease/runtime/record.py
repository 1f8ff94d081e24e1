"""The tick record: one JSON line per tick, from which every decision can be made again.

A segment is a file that replays alone. It begins with {"record": {"version", "wattlease", "started_s", "memory"}},
then {"site": ...} each time the site changes, then {"tick": {the snapshot without its site, "plan": ...}} for every
tick. The newest segment has the name that was asked for; an older one carries the time of its first tick in its name.

Every line is handed to the kernel at once, so a crash of the process loses nothing. Only closing a segment waits for
the disk (fsync): a busy disk must not hold up a tick, so a power cut may cost the last half minute or so.
"""

from __future__ import annotations

import gzip
import logging
import math
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Self

import orjson

from wattlease.core.actions import Plan
from wattlease.core.errors import WattleaseError
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import Site, Snapshot
from wattlease.core.wire import build, plain

VERSION = 1
SITE = frozenset({"site"})
HOLDS_S = 60.0
"""A tick holds until the next one, but no longer: a record that was away knows nothing."""

log = logging.getLogger(__name__)


class RecordError(WattleaseError):
    """A record that cannot be written or used; the text names the file, the line and the fault."""


class EmptyRecordError(RecordError):
    """A record that holds no tick, at least not yet."""


def dumps(data: object) -> bytes:
    """JSON in one line without its end: floats in the shortest digits that read back exactly."""
    return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)


class Recorder:
    """Appends ticks to the newest segment of a record; gzip where the path ends with .gz.

    A new segment begins after `segment_bytes` (before compression) or `segment_s` of ticks, whichever comes first; a
    file that is there already is set aside as an older segment, never overwritten. A path that cannot be opened raises
    RecordError at once; a disk that fills up later stops the recording with one warning, and `stopped` says why.
    """

    def __init__(self, path: Path, *, segment_bytes: float = math.inf, segment_s: float = math.inf) -> None:
        self.path = path
        self.stopped = ""
        self._segment_bytes, self._segment_s = segment_bytes, segment_s
        self._site: Site | None = None
        self._started_s = math.nan
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _set_aside(path)
            self._open()
        except OSError as error:
            raise RecordError(f"{path}: {error.strerror}; name a file in a folder that may be written") from error

    def write(self, snapshot: Snapshot, plan: Plan, memory: Memory) -> None:
        """Append a tick: what was known, what was decided, and the memory with which the tick began."""
        if self.stopped:
            return
        try:
            self._begin_segment(snapshot.now_s, memory)
            if snapshot.site is not self._site:
                self._line({"site": plain(snapshot.site)})
                self._site = snapshot.site
            self._line({"tick": {**plain(snapshot, SITE), "plan": plain(plan)}})
        except (OSError, TypeError) as error:  # TypeError: a name that is no UTF-8
            self._stop(error)

    def close(self) -> None:
        """End the segment and wait until the disk has it."""
        if not self.stopped:
            try:
                self._end()
            except OSError as error:
                self._stop(error)
        self.stopped = self.stopped or "closed"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin_segment(self, now_s: float, memory: Memory) -> None:
        if self._written_bytes >= self._segment_bytes or now_s - self._started_s >= self._segment_s:
            self._end()
            self.path.rename(_older_name(self.path, self._started_s))
            self._open()
        if not self._written_bytes:
            self._started_s = now_s
            head = {"version": VERSION, "wattlease": version("wattlease"), "started_s": now_s, "memory": plain(memory)}
            self._line({"record": head})

    def _open(self) -> None:
        self._raw: IO[bytes] = self.path.open("wb")
        self._zip = gzip.GzipFile("", "wb", 1, self._raw, mtime=0) if self.path.suffix == ".gz" else None
        self._file: IO[bytes] | gzip.GzipFile = self._zip or self._raw
        self._written_bytes = 0
        self._site = None

    def _line(self, data: dict[str, Any]) -> None:
        line = dumps(data) + b"\n"
        self._file.write(line)
        self._file.flush()
        self._written_bytes += len(line)

    def _end(self) -> None:
        if self._zip:
            self._zip.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._raw.close()

    def _stop(self, error: Exception) -> None:
        self.stopped = str(error)
        log.warning("record=%s stopped, control goes on: %s", self.path, error)
        with suppress(OSError):
            self._raw.close()


def _set_aside(path: Path) -> None:
    """Give a file that is in the way the name of an older segment."""
    if not path.exists() or not path.stat().st_size:
        return
    try:
        started_s = next(_lines(path))[1]["record"]["started_s"]
    except (RecordError, StopIteration, KeyError, TypeError):
        started_s = path.stat().st_mtime
    path.rename(_older_name(path, started_s))


def _older_name(path: Path, started_s: float) -> Path:
    stem, *rest = path.name.split(".", 1)
    at = datetime.fromtimestamp(started_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    name = path.with_name(".".join([f"{stem}-{at}", *rest]))
    copy = 2
    while name.exists():
        name = path.with_name(".".join([f"{stem}-{at}-{copy}", *rest]))
        copy += 1
    return name


@dataclass(frozen=True, slots=True)
class Tick:
    """A recorded tick. `memory` is what it began with where a segment begins, else None: carried from the tick before.

    `plan_json` are the recorded bytes of the plan, `read_frac` how much of the file has been read.
    """

    number: int
    line: int
    snapshot: Snapshot
    plan: Plan
    plan_json: bytes
    memory: Memory | None
    read_frac: float


def read(path: Path) -> Iterator[Tick]:
    """The ticks of a segment, one at a time. A torn last line is skipped with a warning; other faults: RecordError."""
    memory: Memory | None = None
    site: Site | None = None
    number = 0
    for line, data, read_frac in _lines(path):
        try:
            match data:
                case {"record": head}:
                    memory = _memory(head)
                case {"site": body} if line > 1:
                    site = build(Site, body)
                case {"tick": body} if site is not None:
                    number += 1
                    tick = _tick(body, site)
                    yield replace(tick, number=number, line=line, memory=memory, read_frac=read_frac)
                    memory = None
                case _:
                    raise ValueError('not a line of a record, which begins with "record" and "site"')
        except ValueError as error:
            raise RecordError(f"{path}: line {line}: {error}") from error
    if not number:
        raise EmptyRecordError(f"{path}: holds no tick")


def read_all(paths: Iterable[Path]) -> Iterator[Tick]:
    """The ticks of several segments in the order of their times, each time once; RecordError as for one.

    A segment without a tick, as of a controller that has stood by so far, is left out where another holds some.
    """
    last_s = -math.inf
    for path in _in_order(paths):
        for tick in read(path):
            if tick.snapshot.now_s > last_s:  # segments of two recordings may overlap
                last_s = tick.snapshot.now_s
                yield tick


def _in_order(paths: Iterable[Path]) -> list[Path]:
    begun_s: dict[Path, float] = {}
    empty: EmptyRecordError | None = None
    for path in paths:
        try:
            begun_s[path] = next(read(path)).snapshot.now_s
        except EmptyRecordError as error:
            empty = error
    if empty and not begun_s:
        raise empty
    return sorted(begun_s, key=begun_s.__getitem__)


def _memory(head: Any) -> Memory:
    if not isinstance(head, dict) or head.get("version") != VERSION:
        raise ValueError(f"written in another format; this Wattlease ({version('wattlease')}) reads version {VERSION}")
    return build(Memory, head.get("memory"))


def _tick(body: Any, site: Site) -> Tick:
    if not isinstance(body, dict) or "plan" not in body:
        raise ValueError("tick: field 'plan' is missing")
    plan = body.pop("plan")
    return Tick(0, 0, build(Snapshot, body, site=site), build(Plan, plan), dumps(plan), FRESH, 0.0)


def _lines(path: Path) -> Iterator[tuple[int, Any, float]]:
    """Number (from 1), data and the part of the file read so far, of every line."""
    try:
        with path.open("rb") as raw:
            size = max(os.fstat(raw.fileno()).st_size, 1)
            whole = _whole_lines(path, gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw)
            for number, data in whole:
                yield number, data, raw.tell() / size
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error


def _whole_lines(path: Path, file: IO[bytes] | gzip.GzipFile) -> Iterator[tuple[int, Any]]:
    lines = _readable(path, file)
    for number, line in enumerate(lines, start=1):
        try:
            data = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if next(lines, None) is not None:
                raise RecordError(f"{path}: line {number} is corrupt: {error}") from error
            log.warning("record=%s line=%d is torn, as after a power cut; the lines before it are whole", path, number)
            return
        yield number, data


def _readable(path: Path, file: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    number = 0
    try:
        for line in file:
            number += 1
            yield line
    except EOFError:
        log.warning("record=%s ends after line %d without its end: still being written, or torn", path, number)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise RecordError(f"{path}: damaged after line {number}: {error}") from error
