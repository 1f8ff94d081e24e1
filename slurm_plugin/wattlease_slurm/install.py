"""The files that a site needs beside the wheel: the submit script, prolog, epilog and unit, and whether they are there.

A script is written after its parts, and no file is ever half there: slurmctld may look at any time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wattlease_slurm.checks import Finding, Grade

OURS = "-- Wattlease at submit"
SCRIPT = "job_submit.lua"
SITE = "job_submit_site.lua"
PARTS = ("wishes", "verdict", "watts")

SETTING = re.compile(r"^local (REFUSE_ON_SITE_ERROR|VERDICT|MODE|LICENCE|NODE_GPUS) = (.*)$", re.MULTILINE)
"""Lines of the scripts that a site may change; an update keeps them."""


@dataclass(frozen=True, slots=True)
class Packaged:
    """A file of ours: where it goes below the site's folder, what it says, and whether it is run."""

    name: str
    text: str
    run: bool = False


def packaged() -> list[Packaged]:
    """All files in the order in which they are written; the submit script, which slurmctld looks at, is the last."""
    parts = [Packaged(f"wattlease/{part}.lua", _text(f"lua/wattlease/{part}.lua")) for part in PARTS]
    run = [
        Packaged(f"wattlease/wattlease-{w}.sh", _text(f"{w}/wattlease-{w}.sh"), run=True) for w in ("prolog", "epilog")
    ]
    unit = Packaged("wattlease/wattlease-slurm.service", _text("systemd/wattlease-slurm.service"))
    return [*parts, *run, unit, Packaged(SCRIPT, _text(f"lua/{SCRIPT}"))]


def install(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Write all files into the folder and say of each what was done. Raises OSError.

    `settings` are lines of the scripts, by name, as Lua has them. A site's own submit script becomes `SITE`; where
    there is one already, nothing is written and FileExistsError says so.
    """
    theirs = _theirs(folder)
    if theirs is not None and (folder / SITE).exists():
        raise FileExistsError(f"{folder / SCRIPT} is not ours and {SITE} is taken; put one into the other first")
    for file in packaged():
        path = folder / file.name
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        text = _with(file.text, {**_settings(before), **(settings or {})})
        if file.name == SCRIPT and theirs is not None:
            _replace(folder / SITE, theirs, 0o644)
            yield f"{folder / SITE}: your own {SCRIPT}; ours calls it first"
        if text == before:
            yield f"{path}: as it was"
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, text, 0o755 if file.run else 0o644)
            yield f"{path}: written"


def looked_at(folder: Path) -> Iterator[Finding]:
    """Whether the submit script and its parts lie there, as this version of Wattlease has them."""
    for file in packaged():
        if not file.name.endswith(".lua"):
            continue
        path = folder / file.name
        try:
            there = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            yield Finding(Grade.MISSING, file.name, f"{path}: {error.strerror}", _command(folder), "a shell")
            continue
        same = SETTING.sub("", there) == SETTING.sub("", file.text)
        told = "is this version's" if same else "is not this version's"
        grade = Grade.OK if same else Grade.MISSING
        yield Finding(grade, file.name, f"{path} {told}", "" if same else _command(folder), "a shell")


def _command(folder: Path) -> str:
    return f"wattlease slurm install --to {folder}"


def _theirs(folder: Path) -> str | None:
    path = folder / SCRIPT
    text = path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else None
    return None if text is None or text.startswith(OURS) else text


def _settings(text: str) -> dict[str, str]:
    return {match[1]: match[2] for match in SETTING.finditer(text)}


def _with(text: str, settings: Mapping[str, str]) -> str:
    return SETTING.sub(lambda match: f"local {match[1]} = {settings.get(match[1], match[2])}", text)


def _replace(path: Path, text: str, mode: int) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8", errors="surrogateescape")
        beside.chmod(mode)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _text(name: str) -> str:
    """A file of the wheel, or of the checkout that is installed editable, where it lies beside the package."""
    here = Path(__file__).parent
    found = next((path for path in (here / "files" / name, here.parent / name) if path.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{here / 'files' / name}: not in this installation; install the wheel again")
    return found.read_text(encoding="utf-8")
