"""A real Slurm cluster on this machine: munge, controllers, and a slurmd for each node, in a room of its own."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from slurm_conf import BACKUP_HOST, GPU_FILE, GPUS, HOST, cgroup_conf, gres_conf, slurm_conf
from slurm_installation import Installation
from slurm_room import USERS, CommandFailed, Room
from slurm_wrappers import stall_file, write_wrappers

REPOSITORY = Path(__file__).resolve().parents[3]
NODES = ("n1", "n2", "n3", "n4")
PATIENCE_S = 20.0

Controller = Literal["primary", "backup"]

FURNISH = f"""set -e
printf '127.0.0.1 localhost {HOST}\\n127.0.0.2 {BACKUP_HOST}\\n' >/etc/hosts
mkdir -p /run/munge /run/slurmctld /run/slurmctld-backup /var/spool/slurmctld /var/log/munge /var/lib/munge
chown munge:munge /run/munge /var/log/munge /var/lib/munge /etc/munge
[ -e /etc/munge/munge.key ] || setpriv --reuid=munge --regid=munge --clear-groups mungekey -c
mkfifo /run/never
for node in $1; do
    mkdir -p /var/spool/slurmd-$node
    for gpu in $(seq 0 {GPUS - 1}); do : >{GPU_FILE}-$node-$gpu; done
done
"""
MUNGED = "exec setpriv --reuid=munge --regid=munge --clear-groups munged --force"
SLURMDS = 'for node; do slurmd -N $node & all="$all $!"; done; for one in $all; do wait $one || exit; done'
BACKUP = f"hostname {BACKUP_HOST}; mount --bind /run/slurmctld-backup /run/slurmctld; exec slurmctld -L $0"

FIELD = re.compile(r"(?:^|\s)([A-Z][A-Za-z0-9/:_]*)=")


class Cluster:
    """A cluster while the block lasts. `folder` is the same path inside and outside the room.

    `bin` holds squeue, scontrol, sbatch and others for programs outside; `slurm_conf` and what `write` puts beside it
    are /etc/slurm, where the contents of `job_submit` go, a folder with a job_submit.lua; `folder / "log"` holds every
    daemon's log, and `folder / "run"` is /run/wattlease inside.
    """

    def __init__(
        self, installation: Installation, folder: Path, *, nodes: Sequence[str] = NODES,
        licences: str = "power:10000", job_submit: Path | None = None, backup: bool = False,
        conf: Mapping[str, str] | None = None, seen: Sequence[Path] = (REPOSITORY,),
    ) -> None:  # fmt: skip
        self.installation, self.folder, self.nodes, self.backup = installation, folder, tuple(nodes), backup
        self.bin, self.log = folder / "bin", folder / "log"
        self.slurm_conf = folder / "etc" / "slurm.conf"
        self._seen = seen
        folder.mkdir(parents=True, exist_ok=True)
        self.write("slurm.conf", self._conf(licences, job_submit is not None, conf or {}))
        self.write("gres.conf", gres_conf(nodes))
        self.write("cgroup.conf", cgroup_conf(installation.version))
        if job_submit is not None:
            shutil.copytree(job_submit, self.slurm_conf.parent, dirs_exist_ok=True)

    def __enter__(self) -> Self:
        begun_s = time.monotonic()
        self.room = Room(self.installation, HOST, self.folder, self._seen)
        try:
            self._furnish()
            self.start_munged()
            self.start_slurmctld()
            if self.backup:
                self.start_slurmctld("backup")
            self.start_slurmd(*self.nodes)
            self.until(self._all_idle, "all nodes are idle")
        except BaseException:
            self.room.end()
            raise
        self.brought_up_s = time.monotonic() - begun_s
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.room.end()

    # Commands and files

    def run(self, *argv: str, user: str = "root", timeout_s: float = 30.0, stdin: str = "") -> str:
        """What a command said inside the room; raises CommandFailed where it ends badly or too late."""
        return self.room.run(*argv, user=user, timeout_s=timeout_s, stdin=stdin)

    def write(self, name: str, text: str) -> Path:
        """Write a file of /etc/slurm, whole."""
        path = self.slurm_conf.with_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{name}.new")
        draft.write_text(text)
        draft.chmod(0o755)
        draft.replace(path)
        return path

    def submit(self, script: str, *options: str, user: str = "root") -> str:
        """Submit a batch script, or the lines of one; return the job's id."""
        text = script if script.startswith("#!") else f"#!/bin/bash\n{script}\n"
        return self.run("sbatch", "--parsable", f"--chdir={_home(user)}", *options, user=user, stdin=text).strip()

    def job(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says of a job; a field that is said twice stands with its last value."""
        return fields(self.run("scontrol", "-o", "show", "job", job))

    def saved_s(self, what: str = "job_state") -> float:
        """When slurmctld last wrote a file of its state, in the wall's seconds; 0 for never.

        Not every change is written at once: a start by the backfill scheduler may wait for minutes.
        """
        path = self.room.inside("/var/spool/slurmctld") / what
        return path.stat().st_mtime if path.exists() else 0.0

    def state(self, job: str) -> str:
        return self.job(job)["JobState"]

    def reaches(self, job: str, state: str, patience_s: float = PATIENCE_S) -> float:
        """Wait until a job is in this state; return how long that took."""
        return self.until(lambda: self.state(job) == state, f"job {job} is {state}", patience_s)

    def until(self, holds: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> float:
        """Wait until it holds; return how long that took."""
        begun_s = time.monotonic()
        while not holds():
            if time.monotonic() - begun_s > patience_s:
                raise AssertionError(f"{what}: not within {patience_s:g} s\n{self._trouble()}")
            time.sleep(0.05)
        return time.monotonic() - begun_s

    # Daemons

    def start_slurmctld(self, which: Controller = "primary") -> None:
        """Start a controller and wait until it answers."""
        self._start_controller(which)
        place = "primary" if which == "primary" else "backup"
        up = re.compile(rf"\({place}\d*\).* (?:is|are) UP|{place}.*is UP", re.IGNORECASE)
        self.until(lambda: bool(up.search(self._ping())), f"the {which} slurmctld answers")

    def kill_slurmctld(self, which: Controller = "primary") -> None:
        """kill -9: what it has not `saved` is lost to the next one, running jobs among it.

        With a backup it dies between two heartbeats. While it writes one, for a fifth of the time on these disks, there
        is no heartbeat file, and a backup that finds none never takes over: Slurm's own trouble, and no test of ours.
        """
        while self.backup and which == "primary":
            self.pause_slurmctld()
            if self.saved_s("heartbeat"):
                break
            self.resume_slurmctld()
        self._end("KILL", _pid_file(which))

    def stop_slurmctld(self, which: Controller = "primary") -> None:
        """SIGTERM: it saves what it knows and ends."""
        self._end("TERM", _pid_file(which))

    def pause_slurmctld(self, which: Controller = "primary") -> None:
        """It takes connections and answers none, as one that is overwhelmed."""
        self._signal("STOP", _pid_file(which))

    def resume_slurmctld(self, which: Controller = "primary") -> None:
        self._signal("CONT", _pid_file(which))

    def start_munged(self) -> None:
        self.room.run("/bin/sh", "-c", MUNGED, living=True)

    def kill_munged(self) -> None:
        """kill -9; nobody can prove any more who he is."""
        self._end("KILL", "/run/munge/munged.pid")

    def start_slurmd(self, *nodes: str) -> None:
        """Start the daemons of these nodes; a node is up once its daemon has registered."""
        script = (
            'for node; do slurmd -N $node & started="$started $!"; done; for s in $started; do wait $s || exit; done'
        )
        self.room.run("/bin/sh", "-c", script, "sh", *nodes, living=True)

    def kill_slurmd(self, node: str) -> None:
        self._end("KILL", f"/run/slurmd-{node}.pid")

    @contextmanager
    def stalled(self, command: str, span_s: float) -> Iterator[None]:
        """Every call of this command of `bin` that begins in the block hangs so long before it does its work."""
        self.stall(command, span_s)
        try:
            yield
        finally:
            self.stall(command, 0.0)

    def stall(self, command: str, span_s: float) -> None:
        """From here on every call of this command of `bin` hangs so long before it does its work; 0 ends it."""
        path = stall_file(self.bin, command)
        if span_s > 0:
            path.write_text(f"{span_s:g}\n")
        else:
            path.unlink(missing_ok=True)

    # Inside

    def _conf(self, licences: str, lua: bool, more: Mapping[str, str]) -> str:
        return slurm_conf(self.installation.version, self.nodes, licences, lua, self.backup, more)

    def _furnish(self) -> None:
        users = [(user, uid) for user, uid in USERS.items() if uid]
        accounts = "".join(
            f"echo {user}:x:{uid}:{uid}::/home/{user}:/bin/bash >>/etc/passwd; echo {user}:x:{uid}: >>/etc/group;"
            f" mkdir /home/{user}; chown {uid}:{uid} /home/{user}\n"
            for user, uid in users
        )
        self.room.run("/bin/sh", "-c", FURNISH + accounts, "sh", " ".join(self.nodes))
        write_wrappers(self.bin, self.room.entering(), self.room.inside("/run/never"))

    def _start_controller(self, which: Controller) -> None:
        if which == "primary":
            self.room.run("slurmctld", living=True)
        else:
            log = "/var/log/slurm/slurmctld-backup.log"
            self.room.run("unshare", "--uts", "--mount", "/bin/sh", "-c", BACKUP, log, living=True)

    def _ping(self) -> str:
        try:
            return self.run("scontrol", "ping")
        except CommandFailed as failed:  # newer ones end so when none answers
            return failed.said

    def _all_idle(self) -> bool:
        try:
            told = self.run("sinfo", "-h", "-N", "-o", "%N %T").splitlines()
        except CommandFailed:
            return False
        return {tuple(line.split()) for line in told} == {(node, "idle") for node in self.nodes}

    def _signal(self, signal: str, pid_file: str) -> None:
        self.room.run("/bin/sh", "-c", f"kill -{signal} $(cat {pid_file})", living=True)

    def _end(self, signal: str, pid_file: str) -> None:
        script = f"pid=$(cat {pid_file}); kill -{signal} $pid; while kill -0 $pid 2>/dev/null; do sleep 0.02; done"
        self.room.run("/bin/sh", "-c", script, living=True)

    def _trouble(self) -> str:
        """The last that each daemon complained of."""
        found = (line for log in sorted(self.log.glob("slurm*.log")) for line in _complaints(log))
        return "\n".join(found) or "no daemon complained"


def fields(line: str) -> dict[str, str]:
    """`Name=value` pairs of a line of `scontrol -o`; values may hold blanks."""
    parts = FIELD.split(line.strip())
    return {name: value.strip() for name, value in zip(parts[1::2], parts[2::2], strict=True)}


def _complaints(log: Path) -> list[str]:
    lines = log.read_text(errors="replace").splitlines()
    return [f"{log.name}: {line}" for line in lines if "error" in line or "fatal" in line][-5:]


def _pid_file(which: Controller) -> str:
    return f"/run/slurmctld{'' if which == 'primary' else '-backup'}/slurmctld.pid"


def _home(user: str) -> str:
    return "/root" if user == "root" else f"/home/{user}"
