"""The unit and the image: what they must not do, and that they say the same as the rest of the house."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "packaging/agent/wattlease-agent.service"
IMAGE = ROOT / "packaging/agent/Containerfile"
LOCK = ROOT / "packaging/agent/requirements.txt"


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_nothing_runs_when_the_unit_stops() -> None:
    assert not {name for name in settings() if name.startswith(("ExecStop", "ExecReload"))}


def test_the_unit_keeps_two_capabilities_and_those_are_the_ones_that_the_image_asks_for() -> None:
    held = settings()["CapabilityBoundingSet"]
    assert held == ["CAP_SYS_ADMIN CAP_CHOWN"]
    image = IMAGE.read_text(encoding="utf-8")
    assert "--cap-drop ALL" in image
    assert {f"CAP_{name}" for name in re.findall(r"--cap-add (\w+)", image)} == set(held[0].split())
    assert "--privileged" not in image


def test_a_comment_stands_on_a_line_of_its_own() -> None:
    """systemd takes what follows a value for a part of it."""
    assert not [value for values in settings().values() for value in values if "#" in value]


def test_systemd_takes_the_unit(systemd_says: Callable[[Path], list[str]]) -> None:
    assert systemd_says(UNIT) == []


def test_the_images_lock_holds_what_the_agent_asks_for_with_hashes_and_as_the_tests_have_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {
        re.split(r"[^\w.-]", line)[0] for line in [*project["dependencies"], *project["optional-dependencies"]["agent"]]
    }
    text = LOCK.read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert all("==" in block.splitlines()[0] and "--hash=sha256:" in block for block in blocks)
    tested = pins((ROOT / "requirements-dev.txt").read_text(encoding="utf-8"))
    assert asked <= {name for name, _ in pins(text)}
    assert pins(text) <= tested
    assert "pytest" not in {name for name, _ in pins(text)}


def pins(text: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))
