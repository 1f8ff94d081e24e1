"""The real binding: the C library's layout, its loading as a process would, and real GPUs where there are any."""

from __future__ import annotations

import csv
import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wattlease.agent.virtual_layout import CARD, FAULT, HEADER, SLICE
from wattlease.agent.virtual_state import VirtualState, virtual_cards

READ = """
from wattlease.agent.nvml import Nvml
driver = Nvml()
for card in driver.find():
    reading = driver.read(card.uuid)
    limits_w = card.min_w, card.max_w, card.default_w, reading.limit_w, reading.enforced_w
    print(card.uuid, *limits_w, reading.power_w, sep=",")
"""


def test_python_and_c_agree_on_every_byte_of_the_file(loaded_nvml: ctypes.CDLL) -> None:
    loaded_nvml.wattlease_layout.restype = ctypes.c_char_p
    told = {}
    for line in loaded_nvml.wattlease_layout().decode().splitlines():
        name, offset, size = line.split()
        told[name] = (int(offset), int(size))
    assert told == {
        f"{kind}.{name}": (place[1], place[0].itemsize)
        for kind, layout in (("header", HEADER), ("slice", SLICE), ("fault", FAULT), ("card", CARD))
        for name, place in (layout.fields or {}).items()
    }


def test_a_process_finds_the_library_by_its_path(nvml_library: Path, tmp_path: Path) -> None:
    state = VirtualState.create(tmp_path / "gpus", virtual_cards("n1", "H200", 2))
    state.play(np.array([410.0, 420.5]), 1.0)
    env = {**os.environ, "LD_LIBRARY_PATH": str(nvml_library.parent), "WATTLEASE_VIRTUAL_GPUS": str(state.path)}
    told = subprocess.run([sys.executable, "-c", READ], env=env, check=True, capture_output=True, text=True).stdout
    uuids = [card.uuid for card in virtual_cards("n1", "H200", 2)]
    assert told.split() == [
        f"{uuids[0]},200.0,700.0,700.0,700.0,700.0,410.0",
        f"{uuids[1]},200.0,700.0,700.0,700.0,700.0,420.5",
    ]


@pytest.mark.parametrize("machine", ["nvml"], indirect=True)
def test_what_a_card_does_not_support_is_asked_once(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pynvml = pytest.importorskip("pynvml")

    asked = []
    ask = pynvml.nvmlDeviceGetCurrentClocksEventReasons

    def counted(handle: object) -> int:
        asked.append(handle)
        return int(ask(handle))

    machine.state.cards["lacks"][0] = 8
    machine.driver.find()
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons", counted)
    for _ in range(3):
        assert machine.driver.read("GPU-0").reasons == 0
    assert len(asked) == 1
    machine.driver.reopen()
    machine.driver.find()
    machine.driver.read("GPU-0")
    assert len(asked) == 2


@pytest.mark.gpu
def test_reads_agree_with_nvidia_smi() -> None:
    if shutil.which("nvidia-smi") is None:
        pytest.skip("nvidia-smi is not here, so there is no GPU to read")
    wanted = (
        "uuid,power.min_limit,power.max_limit,power.default_limit,power.limit,enforced.power.limit,power.draw.instant"
    )
    query = ["nvidia-smi", f"--query-gpu={wanted}", "--format=csv,noheader,nounits"]
    smi = subprocess.run(query, check=True, capture_output=True, text=True).stdout
    ours = subprocess.run([sys.executable, "-c", READ], check=True, capture_output=True, text=True).stdout
    theirs = {row[0].strip(): [float(cell) for cell in row[1:]] for row in csv.reader(smi.splitlines())}
    read = {row[0]: [float(cell) for cell in row[1:]] for row in csv.reader(ours.splitlines())}
    assert theirs.keys() == read.keys()
    for uuid, values in read.items():
        assert values[:5] == pytest.approx(theirs[uuid][:5], abs=0.01)
        assert values[5] == pytest.approx(theirs[uuid][5], rel=0.3, abs=20.0)  # a moment later
