"""What a Slurm must have so that Wattlease can keep its limit, what it had better have, and the lines for that."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from wattlease_slurm.slurm_conf import Conf

OLDEST = (22, 5)


class Grade(StrEnum):
    """How it stands."""

    OK = "ok"
    BETTER = "better"
    """It works without; something is lost."""
    MISSING = "missing"
    """Without this the limit does not hold, or jobs suffer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: why it matters, and what to add to which file."""

    grade: Grade
    about: str
    told: str
    line: str = ""
    file: str = "slurm.conf"


Check = Callable[[Conf, str], Iterator[Finding]]


def findings(conf: Conf, licence: str) -> list[Finding]:
    """All of them, in the order in which one would set a site up."""
    return [finding for check in CHECKS for finding in check(conf, licence)]


def _version(conf: Conf, licence: str) -> Iterator[Finding]:
    found = re.match(r"(\d+)\.(\d+)", conf.value("SLURM_VERSION"))
    if found:
        new = (int(found[1]), int(found[2])) >= OLDEST
        told = "is new enough" if new else "is older than 22.05, which knows no bf_licenses"
        yield Finding(_ok(new), "Slurm", f"{conf.value('SLURM_VERSION')} {told}")


def _licence(conf: Conf, licence: str) -> Iterator[Finding]:
    counts = {name: count for name, _, count in (word.partition(":") for word in conf.words("Licenses"))}
    if counts.get(licence, "").isdecimal() and int(counts[licence]) > 0:
        yield Finding(Grade.OK, "Licenses", f"has {licence}:{counts[licence]}, watts of all GPUs together")
        return
    line = ",".join([*conf.words("Licenses"), f"{licence}:<rated watts of all GPUs together>"])
    yield Finding(Grade.MISSING, "Licenses", "has no watts, so Slurm cannot hold a job back", f"Licenses={line}")


def _submit(conf: Conf, licence: str) -> Iterator[Finding]:
    has = "lua" in conf.words("JobSubmitPlugins")
    line = ",".join([*conf.words("JobSubmitPlugins"), "lua"])
    told = "has lua" if has else "has no lua, so no job asks for its watts"
    yield Finding(_ok(has), "JobSubmitPlugins", told, "" if has else f"JobSubmitPlugins={line}")


def _backfill(conf: Conf, licence: str) -> Iterator[Finding]:
    has = (conf.value("SchedulerType") or "sched/backfill") == "sched/backfill"
    told = "is sched/backfill" if has else "cannot plan around events"
    yield Finding(_ok(has), "SchedulerType", told, "" if has else "SchedulerType=sched/backfill")
    words = conf.words("SchedulerParameters")
    plans = "bf_licenses" in words
    told = "has bf_licenses" if plans else "has no bf_licenses: a job that waits for watts is passed by others for ever"
    line = f"SchedulerParameters={','.join([*words, 'bf_licenses'])}"
    yield Finding(_ok(plans), "SchedulerParameters", told, "" if plans else line)


def _priority(conf: Conf, licence: str) -> Iterator[Finding]:
    has = conf.value("PriorityType") == "priority/multifactor"  # basic by default, before 23.11
    told = "is priority/multifactor" if has else "knows no site factor: urgency and debt do not count in the queue"
    yield Finding(_nice(has), "PriorityType", told, "" if has else "PriorityType=priority/multifactor")


def _preempt(conf: Conf, licence: str) -> Iterator[Finding]:
    words = conf.words("PreemptParameters")
    if "reclaim_licenses" in words:
        line = f"PreemptParameters={','.join(word for word in words if word != 'reclaim_licenses')}"
        told = "has reclaim_licenses: Slurm itself would end jobs to get at watts"
        yield Finding(Grade.MISSING, "PreemptParameters", told, line)
    else:
        yield Finding(Grade.OK, "PreemptParameters", "has no reclaim_licenses")


def _requeue(conf: Conf, licence: str) -> Iterator[Finding]:
    has = conf.value("JobRequeue") != "0"
    told = "allows it" if has else "is 0: jobs that wish to be paused by requeue are suspended instead"
    yield Finding(_nice(has), "JobRequeue", told, "" if has else "JobRequeue=1")


def _limits(conf: Conf, licence: str) -> Iterator[Finding]:
    for name, partition in conf.partitions.items():
        default, most = (partition.get(key, "none").lower() for key in ("defaulttime", "maxtime"))
        if default in ("none", "unlimited", "infinite", "-1") and most in ("none", "unlimited", "infinite", "-1"):
            told = f"{name} lets jobs run without end, so backfill cannot place them before an announced event"
            yield Finding(Grade.BETTER, "DefaultTime", told, f"PartitionName={name} ... DefaultTime=1:00:00")
        else:
            yield Finding(Grade.OK, "DefaultTime", f"partition {name} has a time limit")


def _mapping(conf: Conf, licence: str) -> Iterator[Finding]:
    for name in ("Prolog", "Epilog"):
        has = any("wattlease" in value or value.endswith("*") for value in conf.values(name))
        told = "may tell" if has else "does not tell"
        line = "" if has else f"{name}={conf.folder}/wattlease/wattlease-{name.lower()}.sh"
        yield Finding(_nice(has), name, f"{told} agents which GPUs a job has", line)
    flags = {word.lower() for word in conf.words("PrologFlags")}
    has = bool(flags & {"alloc", "contain", "x11"})
    line = "" if has else f"PrologFlags={','.join([*conf.words('PrologFlags'), 'Alloc'])}"
    told = "when the job gets its nodes" if has else "only at a job's first step, not when it gets its nodes"
    yield Finding(_nice(has), "PrologFlags", f"the prolog runs {told}", line)


def _devices(conf: Conf, licence: str) -> Iterator[Finding]:
    has = conf.value("ConstrainDevices").lower() in ("yes", "true", "1")
    told = "keeps jobs to the GPUs they asked for" if has else "is not yes: a job may use GPUs that it did not ask for"
    yield Finding(_nice(has), "ConstrainDevices", told, "" if has else "ConstrainDevices=yes", "cgroup.conf")


def _nvml(conf: Conf, licence: str) -> Iterator[Finding]:
    gathers = "none" not in (conf.value("JobAcctGatherType") or "none")
    words = conf.words("JobAcctGatherParams")
    has = not gathers or "disablegpuacct" in {word.lower() for word in words}
    told = "leaves the GPUs to the agent" if has else "lets slurmstepd hold NVML, which can keep limits from being set"
    line = "" if has else f"JobAcctGatherParams={','.join([*words, 'DisableGPUAcct'])}"
    yield Finding(_nice(has), "JobAcctGatherParams", told, line)


def _idle(conf: Conf, licence: str) -> Iterator[Finding]:
    has = bool(conf.value("SuspendProgram"))
    told = "switches idle nodes off" if has else "is not there: idle nodes draw power that jobs could use"
    yield Finding(_nice(has), "SuspendProgram", told, "" if has else "SuspendProgram=<your script>")


CHECKS: tuple[Check, ...] = (
    _version,
    _licence,
    _submit,
    _backfill,
    _priority,
    _preempt,
    _requeue,
    _limits,
    _mapping,
    _devices,
    _nvml,
    _idle,
)


def _ok(has: bool) -> Grade:
    return Grade.OK if has else Grade.MISSING


def _nice(has: bool) -> Grade:
    return Grade.OK if has else Grade.BETTER
