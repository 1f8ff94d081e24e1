"""A Slurm of a chosen version: a Debian that carries it, in a folder outside the checkout that serves every test."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SUITES = {"22.05.8": "bookworm", "24.11.5": "trixie", "26.05.5": "forky"}
"""Debian's release for each version."""

UNSIGNED_HERE = frozenset({"forky"})
"""Signed with keys that the Debian which this runs on does not know yet."""

PACKAGES = (
    "slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge", "ca-certificates", "python3",
)  # fmt: skip
"""Python is for what jobs run."""

TOOLS = {
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "pivot_root": "util-linux",
    "unshare": "util-linux",
}
"""What builds an installation and enters it, and the package that carries it."""

SCRIPT = Path("/usr/share/debootstrap/scripts/sid")
"""Debian's releases are put together alike; an older debootstrap does not know the newer names."""


class InstallationError(Exception):
    """No Slurm to run; the text says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A root folder with Slurm in it, never written to once it stands."""

    version: str
    root: Path

    @classmethod
    def of(cls, version: str) -> Installation:
        """The installation of a version, built if it is not there: about a minute, once."""
        if version not in SUITES:
            raise InstallationError(f"Slurm {version} is not known here; SLURM is one of {', '.join(SUITES)}")
        _require_root()
        _require_tools()
        found = cls(version, cache() / f"slurm-{version}")
        if not found.root.is_dir():
            with _alone(found.root):
                if not found.root.is_dir():  # another process may have built it meanwhile
                    found._build()
        found._check()
        return found

    def _build(self) -> None:
        """Build beside the place and move there, so that what stands there is whole."""
        side = self.root.with_name(f".{self.root.name}")
        shutil.rmtree(side, ignore_errors=True)
        suite = SUITES[self.version]
        unsigned = ["--no-check-gpg"] if suite in UNSIGNED_HERE else []
        words = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", *unsigned]
        _say(f"Slurm {self.version}: building Debian {suite} in {self.root}, once; this takes a minute or two")
        built = subprocess.Popen(
            [*words, suite, str(side), mirror(), str(SCRIPT)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        last = _told(built)
        if built.wait():
            raise InstallationError(f"Slurm {self.version}: debootstrap ended with {built.returncode}:\n{last}")
        for package in (side / "var/cache/apt/archives").glob("*.deb"):
            package.unlink()
        side.rename(self.root)

    def _check(self) -> None:
        asked = subprocess.run(["chroot", str(self.root), "slurmctld", "-V"], capture_output=True, text=True)
        if asked.returncode or asked.stdout.split()[-1:] != [self.version]:
            said = (asked.stdout + asked.stderr).strip()
            raise InstallationError(
                f"{self.root} holds {said or 'no Slurm'}, not {self.version}: the mirror has moved on, or the folder is"
                " damaged; remove it to build it anew, or name what it holds in SUITES"
            )


def cache() -> Path:
    """Where installations are kept: WATTLEASE_CACHE, or the user's cache folder."""
    own = os.environ.get("WATTLEASE_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(own) if own else base / "wattlease"


def mirror() -> str:
    """The mirror of Debian that this machine's own apt uses."""
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(CREATED_BY) $(RELEASE) $(REPO_URI)"],
        capture_output=True, text=True,
    )  # fmt: skip
    targets = [line.split() for line in asked.stdout.splitlines()]
    uris = {t[3] for t in targets if t[:2] == ["Debian", "Packages"] and "-" not in t[2]}
    if not uris:
        raise InstallationError(
            "apt knows no mirror of Debian here, and Slurm comes from one; add it to apt's sources, then apt-get update"
        )
    return min(uris)


def _require_root() -> None:
    if os.geteuid() != 0:
        raise InstallationError("a real Slurm needs root, for chroot and namespaces: sudo make e2e-slurm")


def _require_tools() -> None:
    packages = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if not packages:
        return
    _say(f"Installing {' '.join(packages)}")
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", "-qq", *words], capture_output=True, text=True)
    if done.returncode:
        raise InstallationError(f"missing: apt-get install {' '.join(packages)}; apt-get said: {done.stderr.strip()}")


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    root.parent.mkdir(parents=True, exist_ok=True)
    with root.with_name(f".{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _told(building: subprocess.Popen[str]) -> str:
    """Pass on where it is every few dozen lines; return the last ones."""
    assert building.stdout is not None
    lines = []
    for line in building.stdout:
        lines.append(line.rstrip())
        if len(lines) % 60 == 0:
            _say(f"  {lines[-1].removeprefix('I: ')}")
    return "\n".join(lines[-15:])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":  # before the tests, whose time is limited
    try:
        print(Installation.of(sys.argv[1]).root)
    except InstallationError as error:
        sys.exit(f"{error}")
