"""How a Slurm is configured, from its own mouth (`scontrol show config`) or from its files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

NONE = frozenset({"", "(null)", "none", "n/a"})
SHOWN = re.compile(r"([A-Za-z_]+)(?:\[\d+\])?\s+= ?(.*)")
PAIR = re.compile(r"([A-Za-z_]+)=(\S+)")
INCLUDES_MAX = 100


@dataclass(frozen=True, slots=True)
class Conf:
    """Settings by name in lower case, each with every value it was given; partitions by name; where the files lie."""

    settings: Mapping[str, tuple[str, ...]]
    partitions: Mapping[str, Mapping[str, str]]
    folder: Path

    def values(self, name: str) -> tuple[str, ...]:
        """Every value of a setting that says something."""
        return tuple(value for value in self.settings.get(name.lower(), ()) if value.lower() not in NONE)

    def value(self, name: str) -> str:
        """The last value of a setting; empty where it says nothing."""
        return next(reversed(self.values(name)), "")

    def words(self, name: str) -> list[str]:
        """A setting that is a list, such as `lua,cray`."""
        return [word for word in self.value(name).split(",") if word]


def shown(config: str, partitions: str = "") -> Conf:
    """From what `scontrol show config` and `scontrol show partition` print."""
    found: dict[str, tuple[str, ...]] = {}
    for line in config.splitlines():
        if match := SHOWN.fullmatch(line.strip()):
            name = match[1].lower()
            found[name] = (*found.get(name, ()), match[2].strip())
    conf = Conf(found, {}, Path("/etc/slurm"))
    blocks = (dict(PAIR.findall(block)) for block in re.split(r"\n\s*\n", partitions))
    named = {block["PartitionName"]: _lower(block) for block in blocks if "PartitionName" in block}
    return Conf(found, named, Path(conf.value("SLURM_CONF") or "/etc/slurm/slurm.conf").parent)


def written(path: Path) -> Conf:
    """From slurm.conf with all that it includes, and cgroup.conf beside it. Raises OSError."""
    found: dict[str, tuple[str, ...]] = {}
    partitions: dict[str, dict[str, str]] = {}
    default: dict[str, str] = {}
    beside = path.with_name("cgroup.conf")
    lines = [*_lines(path, INCLUDES_MAX), *(_lines(beside, 0) if beside.is_file() else ())]
    for line in lines:
        pairs = _lower(dict(PAIR.findall(line)))
        if "partitionname" in pairs:
            default = pairs if pairs["partitionname"].upper() == "DEFAULT" else default
            partitions[pairs["partitionname"]] = {**default, **pairs}
        elif "nodename" not in pairs and "nodeset" not in pairs:
            name, _, value = line.partition("=")
            found[name.strip().lower()] = (*found.get(name.strip().lower(), ()), value.strip())
    partitions.pop("DEFAULT", None)
    return Conf(found, partitions, path.parent)


def _lines(path: Path, deeper: int) -> Iterator[str]:
    """Lines without comments, joined where they end in a backslash; included files in their place."""
    text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8", errors="replace"))
    for raw in text.splitlines():
        line = re.sub(r"(?<!\\)#.*", "", raw).strip()
        included = re.fullmatch(r"include\s+(\S+)", line, re.IGNORECASE)
        if included and deeper:
            yield from _included(path, included[1], deeper - 1)
        elif "=" in line:
            yield line


def _included(path: Path, name: str, deeper: int) -> Iterable[str]:
    """A missing one is Slurm's to complain of; one named by the cluster (`%c`) is not followed."""
    found = path.parent / name
    return _lines(found, deeper) if found.is_file() else ()


def _lower(pairs: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in pairs.items()}
