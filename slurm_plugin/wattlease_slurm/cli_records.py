"""Nodes, reservations and settings as `scontrol -o show` prints them: written by Slurm and its admins, a line each."""

from __future__ import annotations

import re

from wattlease_slurm.cli_parse import gpus_of, licences_of, moment_of, text_of
from wattlease_slurm.words import Config, Reservation, SlurmNode

_SETTING = re.compile(r"^(\S+) +=(?: (.*))?$", re.MULTILINE)
_FREE_TEXT = re.compile(r" (?:Comment|Extra|Reason|ResvComment)=.*", re.DOTALL)
_EXTRA = re.compile(r" Extra=(.*?)(?= (?:InstanceId|InstanceType|Reason|Topology|Comment)=|\s*$)", re.DOTALL)
_REASON = re.compile(r" Reason=(.*?)(?: \[[^\[\]]*@[^\[\]]*\])?\s*$", re.DOTALL)


def nodes_of_records(text: str) -> tuple[SlurmNode, ...]:
    """The nodes of `scontrol -o show node`."""
    return tuple(_node(record) for record in re.split(r"\n(?=NodeName=)", text.strip("\n")) if record)


def reservations_of(text: str) -> tuple[Reservation, ...]:
    """The reservations of `scontrol -o show reservation`."""
    records = re.split(r"\n(?=ReservationName=)", text.strip("\n"))
    return tuple(_reservation(record) for record in records if record.startswith("ReservationName="))


def config_of(text: str) -> Config:
    """What `scontrol show config` printed; ValueError where it is not that."""
    said = {name: text_of((value or "").strip()) for name, value in _SETTING.findall(text)}
    if "SLURM_VERSION" not in said:
        raise ValueError("no SLURM_VERSION in what scontrol show config printed")
    hosts = (said[name] for name in said if name.startswith("SlurmctldHost["))
    return Config(
        version=said["SLURM_VERSION"],
        cluster=said.get("ClusterName", ""),
        slurm_user=said.get("SlurmUser", "").partition("(")[0],
        licences=licences_of(said.get("Licenses", "")),
        controllers=tuple(host.partition("(")[0] for host in hosts),
        said=said,
    )


def _node(record: str) -> SlurmNode:
    ours = _FREE_TEXT.sub("", record)
    state, *flags = _field("State", ours).split("+")
    gpus = gpus_of(_field("Gres", ours))
    extra, reason = _EXTRA.search(record), _REASON.search(record)
    return SlurmNode(
        name=record.removeprefix("NodeName=").partition(" ")[0],
        state=state.rstrip("*"),
        flags=frozenset(flags) | ({"NOT_RESPONDING"} if state.endswith("*") else frozenset()),
        gpus=gpus.count,
        gpu_type=gpus.type,
        partitions=tuple(filter(None, _field("Partitions", ours).split(","))),
        extra=text_of(extra[1]) if extra else "",
        reason=text_of(reason[1]) if reason else "",
    )


def _reservation(record: str) -> Reservation:
    ours = _FREE_TEXT.sub("", record)
    return Reservation(
        name=record.removeprefix("ReservationName=").partition(" ")[0],
        start_s=moment_of(_field("StartTime", ours)),
        end_s=moment_of(_field("EndTime", ours)),
        licences=licences_of(_field("Licenses", ours)),
        flags=frozenset(filter(None, text_of(_field("Flags", ours)).split(","))),
        active=_field("State", ours) == "ACTIVE",
    )


def _field(key: str, record: str) -> str:
    found = re.search(rf" {key}=(\S*)", record)
    return text_of(found[1]) if found else ""
