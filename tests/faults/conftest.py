"""Sites of real processes: one for each module where its faults leave no trace, or one of a test's own."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # what the tests here share stands in modules beside them

from fault_site import LIMIT_W, Libraries, NewSite, Site  # noqa: E402


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed, so the library that stands in for NVML cannot be built")
    folder = tmp_path_factory.mktemp("libraries")
    nvml: Path = runpy.run_path(str(HERE.parent / "agent" / "nvml" / "build.py"))["build"](folder)
    clock = folder / "wall_clock.so"
    source = HERE / "wall_clock.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-o", str(clock), str(source), "-ldl"], check=True)
    return Libraries(nvml.parent, clock)


@dataclass
class Shared:
    """The site that tests whose faults leave no trace have in common; a broken one is replaced."""

    libraries: Libraries
    folder: Path
    sites: list[Site]

    def whole(self) -> Site:
        """All of it running, and lending to the first two nodes."""
        if self.sites and self._is_whole(self.sites[-1]):
            return self.sites[-1]
        self.end()
        folder = self.folder / str(len(self.sites))
        folder.mkdir()
        self.sites.append(Site(folder, self.libraries))
        self.sites[-1].start()
        self.sites[-1].lends_to(0, 1)
        return self.sites[-1]

    def end(self) -> None:
        for site in self.sites[-1:]:
            site.end()

    @staticmethod
    def _is_whole(site: Site) -> bool:
        needed = [site.controllers[0].process, *(node.agent for node in site.nodes)]
        if not all(process.alive for process in needed) or site.hardware.limits[-1][1] != LIMIT_W:
            return False
        site.controllers[1].process.end()
        try:
            site.lends_to(0, 1)
        except AssertionError:
            return False
        return True


@pytest.fixture(scope="session")
def shared(libraries: Libraries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    found = Shared(libraries, tmp_path_factory.mktemp("sites"), [])
    yield found
    found.end()


@pytest.fixture
def site(shared: Shared) -> Site:
    return shared.whole()


@pytest.fixture
def new_site(libraries: Libraries, tmp_path: Path) -> Iterator[NewSite]:
    """A maker of a site of the test's own."""
    made: list[Site] = []

    def make(**how: object) -> Site:
        made.append(Site(tmp_path, libraries, **how))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for site in made:
        site.end()
