"""A room: namespaces of their own around an installation, in which one cluster lives and ends with who started it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from slurm_installation import Installation

SCRIPT = Path(__file__).with_name("slurm_room.sh")
NAMESPACES = ("--mount", "--net", "--uts", "--ipc")
USERS = {"root": 0, "alice": 2001, "bob": 2002}
PATIENCE_S = 20.0


class RoomError(Exception):
    """A room that could not be made; the text is what was said."""


class CommandFailed(AssertionError):  # noqa: N818
    """A command that ended badly or not at all; `code` is None where it took too long."""

    def __init__(self, argv: Sequence[str], code: int | None, said: str) -> None:
        self.argv, self.code, self.said = tuple(argv), code, said
        ended = "did not end in time" if code is None else f"ended with {code}"
        super().__init__(f"{' '.join(argv)}: {ended}: {said.strip()}")


class Room:
    """The first process holds it: it ends when this process does, however that ends, and takes all others with it.

    `folder` is seen inside under the same path, its `etc` as /etc/slurm, `run` as /run/wattlease, `log` as
    /var/log/slurm.
    """

    def __init__(self, installation: Installation, name: str, folder: Path, seen: Sequence[Path] = ()) -> None:
        self.folder = folder
        for part in ("etc", "run", "log", "room"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        script = ["sh", str(SCRIPT), str(installation.root), name, str(folder), *map(str, seen)]
        self._outer = subprocess.Popen(
            ["unshare", *NAMESPACES, "--pid", "--fork", "--kill-child", *script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the tests, which end the room
        )  # fmt: skip
        self.pid = self._first()

    def _first(self) -> int:
        """The first process, as seen from outside, once the room is ready."""
        assert self._outer.stdout is not None
        ready, _, _ = select.select([self._outer.stdout], [], [], PATIENCE_S)
        said = self._outer.stdout.readline() if ready else b"nothing was said in time"
        if said != b"ready\n":
            self._outer.kill()
            raise RoomError(f"no room: {(said + self._outer.communicate()[0]).decode(errors='replace').strip()}")
        return int(Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text())

    def inside(self, path: str) -> Path:
        """Where a file of the room stands, seen from outside."""
        return Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    def entering(self, user: str = "root", living: bool = False) -> list[str]:
        """Words before a command that take it inside; what is `living` there belongs to the room and ends with it."""
        own = ["--pid"] if living else []
        uid = USERS[user]
        who = [f"--setuid={uid}", f"--setgid={uid}"] if uid else []
        return ["nsenter", f"--target={self.pid}", *NAMESPACES, *own, *who, "--"]

    def run(
        self, *argv: str, user: str = "root", living: bool = False, timeout_s: float = 30.0, stdin: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        """What a command said inside; raises CommandFailed."""
        home = "/root" if user == "root" else f"/home/{user}"
        known = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, "USER": user, "LANG": "C.UTF-8"}
        try:
            done = subprocess.run(
                [*self.entering(user, living), *argv],
                env=known | dict(environment or {}), input=stdin, capture_output=True, text=True, timeout=timeout_s,
                errors="replace",
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            raise CommandFailed(argv, None, (late.stderr or b"").decode(errors="replace")) from None
        if done.returncode:
            raise CommandFailed(argv, done.returncode, done.stderr or done.stdout)
        return done.stdout

    def end(self) -> None:
        """Everything in the room is gone after this."""
        if self._outer.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self._outer.wait(PATIENCE_S)
        for stream in (self._outer.stdin, self._outer.stdout):
            assert stream is not None
            stream.close()
