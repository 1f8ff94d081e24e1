"""The files of a small cluster's configuration: all daemons on one host, GPUs that are plain files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

HOST = "ctl1"
BACKUP_HOST = "ctl2"
GPU_FILE = "/var/spool/fakegpu"

GPUS = 8
CPUS = 64


SETTINGS = {
    "ClusterName": "wattlease",
    "SlurmUser": "root",
    "AuthType": "auth/munge",
    "ProctrackType": "proctrack/linuxproc",
    "TaskPlugin": "task/none",
    "MpiDefault": "none",
    "ReturnToService": "2",
    "StateSaveLocation": "/var/spool/slurmctld",
    "SlurmctldPidFile": "/run/slurmctld/slurmctld.pid",
    "SlurmdPidFile": "/run/slurmd-%n.pid",
    "SlurmdSpoolDir": "/var/spool/slurmd-%n",
    "SlurmctldLogFile": "/var/log/slurm/slurmctld.log",
    "SlurmdLogFile": "/var/log/slurm/slurmd-%n.log",
    "JobCompType": "jobcomp/filetxt",
    "JobCompLoc": "/var/log/slurm/jobcomp.log",
    "CommunicationParameters": "NoCtldInAddrAny",  # a backup listens on the same port of another address
    "SlurmctldTimeout": "5",
    "SlurmdTimeout": "120",
    "KillWait": "3",
    "MinJobAge": "3600",  # what has ended can still be asked for
    "SlurmdParameters": "config_overrides",
    "SelectType": "select/cons_tres",
    "SelectTypeParameters": "CR_CPU",  # otherwise every job takes a node's whole memory
    "SchedulerType": "sched/backfill",
    "SchedulerParameters": "bf_licenses,bf_interval=2,sched_interval=2,batch_sched_delay=0",
    "PriorityType": "priority/multifactor",
    "PriorityCalcPeriod": "1",
    "GresTypes": "gpu",
}


def slurm_conf(
    version: str, nodes: Sequence[str], licences: str, lua: bool, backup: bool, more: Mapping[str, str]
) -> str:
    """slurm.conf; `more` adds to it, or replaces what stands here, and an empty value takes it out."""
    settings = {
        **SETTINGS,
        "PreemptParameters": "" if version.startswith("22.") else "suspend_grace_time=1",  # there it is always 2 s
        "JobSubmitPlugins": "lua" if lua else "",
        "Licenses": licences,
        **more,
    }
    hosts = [f"SlurmctldHost={HOST}(127.0.0.1)", *([f"SlurmctldHost={BACKUP_HOST}(127.0.0.2)"] if backup else [])]
    lines = [f"{name}={value}" for name, value in settings.items() if value]
    return "\n".join([*hosts, *lines, *(_node(i, name) for i, name in enumerate(nodes)), _partition(nodes), ""])


def gres_conf(nodes: Sequence[str]) -> str:
    """gres.conf; a GPU counts only with a file that exists."""
    return "\n".join(
        ["AutoDetect=off", *(f"NodeName={n} Name=gpu Type=h100 File={GPU_FILE}-{n}-[0-{GPUS - 1}]" for n in nodes), ""]
    )


def cgroup_conf(version: str) -> str:
    """cgroup.conf: none are made; 22.05 has no word for that, and makes none where nothing asks for one."""
    return "CgroupPlugin=cgroup/v1\n" if version.startswith("22.") else "CgroupPlugin=disabled\n"


def _node(i: int, name: str) -> str:
    return (
        f"NodeName={name} NodeHostname={HOST} NodeAddr=127.0.0.1 Port={17001 + i}"
        f" CPUs={CPUS} RealMemory=100000 Gres=gpu:h100:{GPUS}"
    )


def _partition(nodes: Sequence[str]) -> str:
    return f"PartitionName=gpu Nodes={','.join(nodes)} Default=YES MaxTime=7-0 DefaultTime=60 State=UP"
