"""What the daemon leaves for `job_submit.lua`: predictions, prices and limits, in a small file of lines `key=value`.

    wattlease=1                     the form of the file
    written=1763712345              unix seconds; `valid` seconds later it has run out
    valid=60
    content=1a2b3c4d                another one whenever a line below is another one
    ...
    draw.ada/train/h100=512.5       tables have a dot; % and = and what cannot be printed is %XX in their keys
    end=wattlease                   a file without its end is not believed

Types of GPUs are in lower case, as Slurm's GRES has them. `*` stands for whatever is not named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

from wattlease.core.history import stem

FORM = 1
KEYS_MAX = 4096
"""Of each table so many entries are written, those that come first."""

KEY_MAX = 253
"""An entry with a longer key is left out; no user's and no job's name is so long."""

LICENCE = re.compile(r"[A-Za-z0-9_-]{1,63}")
RESERVED = re.compile(rb"[%=\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that a submit may know. Watts are per whole GPU."""

    written_s: float
    total_w: int
    """Licences that there are: no job asks for more."""

    valid_s: float = 60.0
    licence: str = "power"
    mode: Literal["Enforce", "Shadow"] = "Enforce"
    """Shadow: what would be done is logged, and nothing is."""

    rated_w: Mapping[str, float] = field(default_factory=dict)
    """By type; `*` for a type that nobody knows: the site's largest."""

    draw_w: Mapping[str, float] = field(default_factory=dict)
    """Predicted, by `draw_key`, the most used first."""

    margin: float = 1.0
    """Times a prediction, up to rated watts."""

    watts_per_cpu: float = 0.0
    """For jobs without GPUs."""

    fractions: Mapping[str, float] = field(default_factory=dict)
    """Of a GPU, by MIG type; `shard` for one share, `mps` for one percent."""

    node_gpus: Mapping[str, int] = field(default_factory=dict)
    """GPUs of a node, by partition."""

    types: Mapping[str, str] = field(default_factory=dict)
    """The type that a request without one may get, by partition: the one that draws most."""

    resource: str = ""
    """The hierarchical resource that guards racks; empty where there is none."""

    room_w: Mapping[str, int] = field(default_factory=dict)
    """The most of it that a job may ask for on each node, by `room_key`."""

    operators: tuple[int, ...] = (0,)
    """User ids whose changes of licences are left alone: root, SlurmUser."""

    qos: Mapping[str, float] = field(default_factory=dict)
    partitions: Mapping[str, float] = field(default_factory=dict)
    accounts: Mapping[str, float] = field(default_factory=dict)
    """Weights; of several a QOS holds over an account and that over a partition."""

    debts: Mapping[str, float] = field(default_factory=dict)
    """Money that is owed to a user for past cuts, the largest first."""

    debt_half: float = 50.0
    """A debt of so much counts half of what an endless one does."""

    site_factor: int = 1000
    """Points of priority between the least and the most urgent job; 0 leaves priorities alone."""

    @property
    def text(self) -> str:
        """The file's content. Raises ValueError for a licence that Slurm cannot name."""
        body = "".join(f"{line}\n" for line in _lines(self))
        content = f"{crc32(_raw(body)):08x}"
        head = f"wattlease={FORM}\nwritten={_plain(self.written_s)}\nvalid={_plain(self.valid_s)}\ncontent={content}\n"
        return f"{head}{body}end=wattlease\n"

    def write(self, path: Path) -> None:
        """Put it whole in place of the one before. Raises OSError and ValueError, and then changes nothing."""
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        text = _raw(self.text)
        try:
            beside.write_bytes(text)
            beside.chmod(0o644)  # slurmctld may run as another user
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def draw_key(user: str, name: str, kind: str) -> str:
    """The key of a prediction: a user's jobs of a name, counters aside, on a type of GPU; `*` is any name."""
    return f"{user}/{stem(name)}/{kind.lower()}"


def room_key(partition: str, nodes: int) -> str:
    """The key of the most that a job of so many nodes, 1, 2, 4, ..., may ask for in a partition."""
    return f"{partition}/{nodes}"


def read(path: Path) -> Verdict | None:
    """The verdict that lies there, or `None` where none does."""
    try:
        return parsed(path.read_bytes().decode("utf-8", "surrogateescape"))
    except OSError:
        return None


def parsed(text: str) -> Verdict | None:
    """The verdict of a file's content, or `None` where it is none."""
    said = dict(line.partition("=")[::2] for line in text.split("\n"))
    if said.get("wattlease") != str(FORM) or not text.endswith("\nend=wattlease\n"):
        return None
    tables: dict[str, dict[str, str]] = {}
    for key, value in said.items():
        table, dot, name = key.partition(".")
        if dot:
            tables.setdefault(table, {})[_unescaped(name)] = value
    try:
        return _verdict(said, tables)
    except (KeyError, ValueError):
        return None


_WORDS = {"licence": "licence", "mode": "mode", "resource": "resource"}
_NUMBERS = {
    "written": "written_s",
    "valid": "valid_s",
    "margin": "margin",
    "cpu": "watts_per_cpu",
    "owes": "debt_half",
    "total": "total_w",
    "factor": "site_factor",
}
_TABLES = {
    "rated": "rated_w",
    "fraction": "fractions",
    "gpus": "node_gpus",
    "room": "room_w",
    "qos": "qos",
    "account": "accounts",
    "partition": "partitions",
    "debt": "debts",
    "draw": "draw_w",
}


def _lines(verdict: Verdict) -> Iterator[str]:
    for name in (verdict.licence, verdict.resource or "none"):
        if not LICENCE.fullmatch(name):
            raise ValueError(f"{name!r} is no licence's name; use letters, digits, _ and -")
    yield from (f"{key}={getattr(verdict, name)}" for key, name in _WORDS.items())
    yield from (f"{key}={_plain(getattr(verdict, name))}" for key, name in list(_NUMBERS.items())[2:])
    yield f"operators={','.join(map(str, verdict.operators))}"
    for partition, kind in verdict.types.items():
        if not RESERVED.search(_raw(kind)):
            yield f"type.{_escaped(partition)}={kind}"
    for key, name in _TABLES.items():
        table: Mapping[str, float] = getattr(verdict, name)
        yield from (f"{key}.{_escaped(k)}={_plain(n)}" for k, n in islice(table.items(), KEYS_MAX) if len(k) <= KEY_MAX)


def _verdict(said: Mapping[str, str], tables: Mapping[str, Mapping[str, str]]) -> Verdict:
    values: dict[str, Any] = {name: said[key] for key, name in _WORDS.items()}
    values |= {name: float(said[key]) for key, name in _NUMBERS.items()}
    values |= {name: {k: float(n) for k, n in tables.get(key, {}).items()} for key, name in _TABLES.items()}
    values |= {name: int(values[name]) for name in ("total_w", "site_factor")}
    values["operators"] = tuple(int(uid) for uid in said["operators"].split(",") if uid)
    return Verdict(types=tables.get("type", {}), **values)


def _plain(number: float) -> str:
    """Without an exponent, which the reader does not know; never negative."""
    if not 0 <= number < 1e15:
        raise ValueError(f"{number!r} is no number for a verdict; all are from 0 up")
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _escaped(text: str) -> str:
    return RESERVED.sub(lambda found: b"%%%02X" % ord(found[0]), _raw(text)).decode("utf-8", "surrogateescape")


def _unescaped(text: str) -> str:
    raw = re.sub(rb"%([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), _raw(text))
    return raw.decode("utf-8", "surrogateescape")
