"""The house around the code: what is shipped, what documents name, and what no file may hold."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from wattlease.core.api import PowerBudget
from wattlease.runtime import files

ROOT = Path(__file__).parents[1]
PACKAGES = ("src/wattlease", "src/wattlease_hints", "operator/wattlease_operator", "slurm_plugin/wattlease_slurm")
INSTALLED = {f"slurm_plugin/{part}": f"wattlease_slurm/files/{part}" for part in ("lua", "prolog", "epilog", "systemd")}
"""What an installer writes elsewhere, and where the wheel keeps it."""

STATIC = ("wattlease/runtime/static", "wattlease/sim/static")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
OURS = ("src", "operator", "slurm_plugin", "packaging", "tests", "docs", "examples", "helm", "crds", ".ci")
TEXT = {".css", ".html", ".js", ".lua", ".md", ".py", ".sh", ".svg", ".toml", ".tpl", ".txt", ".yaml", ".yml", ""}
UNWANTED = re.compile(
    r"(?<![\w.~<>}-])/(?:work|root|home|tmp|var/tmp|opt|Users)/[\w.-]+"  # where a machine keeps its files
    r"|(?:files\.)?python" + r"hosted\.org|pypi\." + r"org|--(?:extra-)?index-" + r"url[ =]|--find-" + r"links[ =]"
)


def texts() -> list[Path]:
    """The repository's own text files, without what tools leave behind."""
    below = [path for name in OURS for path in (ROOT / name).rglob("*") if path.is_file()]
    beside = (path for path in ROOT.iterdir() if path.is_file() and path.name != ".git")  # a worktree's names its home
    found = [*beside, *below]
    return [path for path in found if path.suffix in TEXT and "__pycache__" not in path.parts]


def test_each_package_folder_holds_our_packages_alone_and_is_none_itself() -> None:
    for folder in {(ROOT / package).parent for package in PACKAGES}:
        ours = {Path(package).name for package in PACKAGES if (ROOT / package).parent == folder}
        assert {path.parent.name for path in folder.glob("*/__init__.py")} == ours
        assert not (folder / "__init__.py").exists()


def test_every_package_says_that_it_is_typed() -> None:
    assert all((ROOT / package / "py.typed").is_file() for package in PACKAGES)


def test_tests_are_no_package_and_no_two_files_share_a_name() -> None:
    found = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert "__init__.py" not in {path.name for path in found}
    assert len({path.name for path in found}) == len(found)
    assert not (ROOT / "tests" / "operator").exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """The names in the wheel, built by the locked hatchling, so without a word to any registry."""
    pytest.importorskip("hatchling", reason="the wheel is built by hatchling, which requirements-dev.txt brings")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert built.returncode == 0, built.stdout + built.stderr
    return frozenset(zipfile.ZipFile(next(folder.glob("*.whl"))).namelist())


def test_the_wheel_holds_all_of_the_three_packages_and_nothing_else(wheel: frozenset[str]) -> None:
    shipped = {
        path.relative_to((ROOT / package).parent).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {
        f"{there}/{path.relative_to(ROOT / here).as_posix()}"
        for here, there in INSTALLED.items()
        for path in (ROOT / here).rglob("*")
        if path.is_file()
    }
    assert {name for name in wheel if ".dist-info/" not in name} == shipped
    assert all(any(name.startswith(f"{folder}/") for name in shipped) for folder in STATIC)


def test_the_wheel_carries_licence_and_commands(wheel: frozenset[str]) -> None:
    carried = {name.partition(".dist-info/")[2] for name in wheel}
    assert {"licenses/LICENSE", "entry_points.txt"} <= carried


def test_every_command_is_there() -> None:
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    for entry in entries["wattlease.commands"].values():
        module, _, name = entry.partition(":")
        file = f"{module.replace('.', '/')}.py"
        found = next(path for package in PACKAGES if (path := (ROOT / package).parent / file).exists())
        tree = ast.parse(found.read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, entry


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_every_locked_package_has_a_hash(lock: str) -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / lock).read_text(encoding="utf-8"))[1:]
    assert len(blocks) > 20
    assert all("==" in block.splitlines()[0] and "--hash=sha256:" in block for block in blocks)


def test_the_locks_hold_all_that_the_project_asks_for_and_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = project["project"]["dependencies"]
    run, dev = pins("requirements.txt"), pins("requirements-dev.txt")
    assert {name_of(line) for line in [*asked, *project["build-system"]["requires"]]} <= run.keys()
    assert {name_of(line) for line in project["dependency-groups"]["dev"]} <= dev.keys()
    assert {name: dev[name] for name in run} == run


def pins(lock: str) -> dict[str, list[str]]:
    """Each locked package with its versions."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE):
        found.setdefault(name, []).append(version)
    return found


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def test_no_file_names_a_registry_or_a_place_on_somebodys_machine() -> None:
    told = [
        f"{path.relative_to(ROOT)}:{number}: {found.group()}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        for found in UNWANTED.finditer(line)
    ]
    assert not told, "\n".join(told)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing, f"{document.name} links to {missing}"


def test_every_promise_of_safety_names_tests_that_exist() -> None:
    held = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8").partition("## Held today")[2]
    promises = re.split(r"^\* ", held.partition("\n## ")[0], flags=re.MULTILINE)[1:]
    assert len(promises) > 20
    for promise in promises:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", promise)
        assert named, f"no test holds: {promise}"
        for path, test in named:
            assert re.search(rf"^(async )?def {test}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), test


def test_the_budget_of_the_readme_comes_in(tmp_path: Path) -> None:
    shown = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "budget.yaml"
    path.write_text("\n---\n".join(shown), encoding="utf-8")
    resources = files.load_all(path)
    assert [r.metadata.name for r in resources if isinstance(r, PowerBudget)] == ["hall", "rack-r2"]


def test_the_readmes_commands_and_examples_are_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"^    make ([\w-]+)", readme, re.MULTILINE)) <= targets
    commands = set(re.findall(r"^    wattlease (\w+)", readme, re.MULTILINE))
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert commands
    assert commands <= entries["wattlease.commands"].keys()
    assert all((ROOT / path).is_file() for path in re.findall(r"examples/\S+\.yaml", readme))
