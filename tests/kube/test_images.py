"""The images' recipes, read and not built: no container engine is at hand where these tests run."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("operator", "agent")
EXTRAS = {"operator": ("operator", "facility"), "agent": ("agent",)}

by_part = pytest.mark.parametrize("part", PARTS)


def recipe(part: str) -> list[tuple[str, str]]:
    """The instructions, each with its words; lines that go on are one."""
    text = (ROOT / f"packaging/{part}/Containerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines()]


def words(part: str, instruction: str) -> list[str]:
    return [told for name, told in recipe(part) if name == instruction]


def sources(part: str) -> list[str]:
    """What is copied from the repository."""
    copied = [told.split() for told in words(part, "COPY") if not told.startswith("--from=")]
    return [source for told in copied for source in told[:-1]]


@by_part
def test_bases_are_named_by_a_version_and_are_one(part: str) -> None:
    bases = [told.split()[0] for told in words(part, "FROM")]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-[a-z]+", bases[0])


@by_part
def test_what_is_copied_is_there_and_reaches_the_build(part: str) -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    sent = [line[1:] for line in lines if line.startswith("!")]
    for source in sources(part):
        assert (ROOT / source).exists(), source
        assert any(source == kept or source.startswith(f"{kept}/") for kept in sent), source
        assert not any(fnmatch.fnmatch(source, line.removeprefix("**/")) for line in lines[1:] if line[0] != "!")


@by_part
def test_whatever_is_installed_is_locked_by_its_hash(part: str) -> None:
    installs = [told for told in words(part, "RUN") if "pip install" in told]
    assert "--require-hashes" in installs[0]
    assert "--only-binary :all:" in installs[0]
    assert all("--no-deps" in told and "--no-build-isolation" in told for told in installs[1:])
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / f"packaging/{part}/requirements.txt").read_text("utf-8"))[1:]
    assert all("==" in block.splitlines()[0] and "--hash=sha256:" in block for block in blocks)
    assert "hatchling" in {block.partition("==")[0] for block in blocks}, "without it the project cannot be installed"


@by_part
def test_an_image_holds_its_extras_as_the_tests_ran_with_them(part: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(line for extra in EXTRAS[part] for line in extras[extra])]
    image, tested = pins(ROOT / f"packaging/{part}/requirements.txt"), pins(ROOT / "requirements-dev.txt")
    assert {re.split(r"[^\w.-]", line)[0].lower() for line in asked} <= {name for name, _ in image}
    assert image <= tested, "make lock"


def pins(lock: Path) -> set[tuple[str, str]]:
    """The locked packages with their versions."""
    return set(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text("utf-8"), re.MULTILINE))


@by_part
def test_nothing_is_fetched_by_a_shell_or_run_as_a_shell(part: str) -> None:
    ran = " ".join(words(part, "RUN"))
    assert not re.search(r"\b(curl|wget|apt-get|sudo)\b", ran)
    assert not words(part, "ADD")
    assert words(part, "ENTRYPOINT")[0].startswith("[")
    assert words(part, "CMD")[0].startswith("[")


def test_the_operator_is_nobody_and_the_agent_says_why_it_is_not() -> None:
    assert words("operator", "USER") == ["65532:65532"]
    assert words("agent", "USER") == ["0:0"]
    text = (ROOT / "packaging/agent/Containerfile").read_text(encoding="utf-8")
    assert re.search(r"^# Root inside: .+\n(#.+\n)*USER 0:0$", text, re.MULTILINE)


@by_part
def test_the_user_is_set_last_in_the_image_that_ships(part: str) -> None:
    names = [name for name, _ in recipe(part)]
    assert max(i for i, name in enumerate(names) if name == "FROM") < names.index("USER")


@by_part
def test_the_project_can_be_built_of_what_is_copied(part: str, tmp_path: Path) -> None:
    """The step that no lock guards: hatchling finds every folder that pyproject.toml names."""
    pytest.importorskip("hatchling", reason="requirements-dev.txt brings it")
    for source in sources(part):
        target = tmp_path / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / source, target)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "out").glob("wattlease-*.whl"))
