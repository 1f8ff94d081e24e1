"""What `scontrol -d -o show job` knows beyond squeue: GPUs by index, restarts, the admin's comment.

Its lines are not made to be read by programs: users' names, comments and paths stand in them as they are, with blanks,
newlines, or words that look like fields. Rule 1: a record counts only for a job that squeue named, where its number
stands at the start of one single line and squeue's own name of the job follows. Rule 2: fields are taken from the part
where Slurm writes alone, between the name and `Network=`; what a job says of itself after that speaks only for itself.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from wattlease_slurm.cli_parse import Gpus, count_of, gpus_of, moment_of, text_of
from wattlease_slurm.hostlist import nodes_of

_START = re.compile(r"^JobId=(\d+) ", re.MULTILINE)
_BEFORE_NAME = re.compile(r"JobId=\d+ (?:(?:Array|Het)\w+=\S+ )*JobName=")
_AFTER_NAME = re.compile(r" (?:\w+=\S+ ){0,3}UserId=")
_BY_NODE = re.compile(r" Nodes=(\S+) CPU_IDs=\S* Mem=\S* GRES=(\S*)")
_ASKED = re.compile(r" TresPer(Job|Node|Task|Socket)=(\S+)")
_ADMIN_COMMENT = re.compile(r" WorkDir=.*? AdminComment=(.*?)(?= (?:SystemComment|Comment|Extra|StdErr)=)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Details:
    """Of one job. `asked` are GPUs for each `Job`, `Node`, `Task` or `Socket`."""

    restarts: int = 0
    requeueable: bool = False
    batch: bool = True
    exclusive: bool = False
    eligible_s: float = math.nan
    changed_s: float = math.nan
    """When it was last suspended or resumed."""
    task_count: int = 1
    held: Gpus = field(default_factory=Gpus)
    """GPUs it has been given; its indices are in `by_node`."""
    by_node: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    asked: Mapping[str, Gpus] = field(default_factory=dict)
    admin_comment: str = ""


def details_of(text: str, names: Mapping[int, str]) -> dict[int, Details]:
    """The details of the jobs with these names; one whose record is missing, double or broken is left out."""
    starts = [(int(found[1]), found.start()) for found in _START.finditer(text)]
    seen = Counter(number for number, _ in starts)
    ends = [at for _, at in starts[1:]] + [len(text)]
    told = (
        (number, _read(text[at:end], names[number]))
        for (number, at), end in zip(starts, ends, strict=True)
        if seen[number] == 1 and number in names
    )
    return {number: details for number, details in told if details is not None}


def only_details_of(text: str, number: int, name: str) -> Details | None:
    """The details of a job that was asked for alone: whatever stands in it, the answer begins with its record."""
    return _read(text, name) if text.startswith(f"JobId={number} ") else None


def _read(record: str, name: str) -> Details | None:
    try:
        return _record(record, name)
    except ValueError:
        return None


def _record(record: str, name: str) -> Details | None:
    before = _BEFORE_NAME.match(record)
    if before is None or not record.startswith(name, before.end()):
        return None
    rest = record[before.end() + len(name) :]
    slurms, network, users = rest.partition(" Network=")
    if not (network and _AFTER_NAME.match(slurms)):
        return None
    comment = _ADMIN_COMMENT.search(users)
    return Details(
        restarts=int(_last("Restarts", slurms) or 0),
        requeueable=_last("Requeue", slurms) == "1",
        batch=_last("BatchFlag", slurms) not in ("", "0"),
        exclusive=_exclusive(slurms),
        eligible_s=moment_of(_last("EligibleTime", slurms)),
        changed_s=moment_of(_last("SuspendTime", slurms)),
        task_count=count_of(_last("NumTasks", slurms) or "1"),
        held=gpus_of(text_of(_last("JOB_GRES", slurms))),
        by_node=_indices(slurms),
        asked={per: gpus_of(tres) for per, tres in _ASKED.findall(users)},
        admin_comment=text_of(comment[1].strip()) if comment else "",
    )


def _last(key: str, text: str) -> str:
    return text.rpartition(f" {key}=")[2].partition(" ")[0] if f" {key}=" in text else ""


def _exclusive(slurms: str) -> bool:
    """From 25.11 on `OverSubscribe=NO` no longer says it, a field of its own does."""
    said = _last("Exclusive", slurms)
    return said != "NO" if said else _last("OverSubscribe", slurms) == "NO"


def _indices(slurms: str) -> dict[str, tuple[int, ...]]:
    found = [(nodes_of(nodes), gpus_of(gres).indices) for nodes, gres in _BY_NODE.findall(slurms)]
    return {node: indices for nodes, indices in found if indices for node in nodes}
