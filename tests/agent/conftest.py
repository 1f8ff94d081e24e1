"""A node's GPUs to play with: the same file, once behind the virtual driver, once behind the real binding of NVML."""

from __future__ import annotations

import ctypes
import runpy
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from wattlease.agent.cards import Driver
from wattlease.agent.virtual import Virtual
from wattlease.agent.virtual_state import VirtualCard, VirtualState

BUILD = Path(__file__).parent / "nvml" / "build.py"
CARDS = tuple(VirtualCard(f"GPU-{n}", "Virtual H100", 200.0, 700.0, 700.0, 75.0) for n in range(4))


@dataclass
class Machine:
    """A node: its hardware, and a driver that was just loaded on it."""

    state: VirtualState
    driver: Driver

    def limits_w(self) -> list[float]:
        return [float(limit_mw) / 1e3 for limit_mw in self.state.cards["limit_mw"]]


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C library that answers as NVML does."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed, so the library that stands in for NVML cannot be built")
    library: Path = runpy.run_path(str(BUILD))["build"](tmp_path_factory.mktemp("nvml"))
    return library


@pytest.fixture(scope="session")
def loaded_nvml(nvml_library: Path) -> ctypes.CDLL:
    """The library in this process: the binding asks for it by name, and the loader has one of that name already."""
    return ctypes.CDLL(str(nvml_library), mode=ctypes.RTLD_GLOBAL)


@pytest.fixture(params=["virtual", "nvml"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Four cards of 200 to 700 W at their default of 700 W."""
    state = VirtualState.create(tmp_path / "gpus", CARDS)
    if request.param == "virtual":
        yield Machine(state, Virtual(state.path))
        return
    request.getfixturevalue("loaded_nvml")
    pynvml = pytest.importorskip("pynvml")
    from wattlease.agent.nvml import Nvml

    monkeypatch.setenv("WATTLEASE_VIRTUAL_GPUS", str(state.path))
    yield Machine(state, Nvml())
    with suppress(pynvml.NVMLError):
        pynvml.nvmlShutdown()


@pytest.fixture
def virtual_machine(tmp_path: Path) -> Callable[..., Machine]:
    """Makes a node of virtual cards."""

    def make(*cards: VirtualCard) -> Machine:
        state = VirtualState.create(tmp_path / "gpus", cards or CARDS)
        return Machine(state, Virtual(state.path))

    return make
