"""The file of virtual GPUs, and what it does where nobody plays it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from wattlease.agent.virtual import Virtual
from wattlease.agent.virtual_state import VirtualCard, VirtualState, VirtualStateError, virtual_cards


def test_where_nobody_plays_the_draw_stands_at_idle_and_energy_runs(tmp_path: Path) -> None:
    state = VirtualState.create(tmp_path / "gpus", virtual_cards("n1", "H100", 1))
    driver = Virtual(state.path)
    (card,) = driver.find()  # type: ignore[misc]
    first = driver.glance(card.uuid)
    time.sleep(0.05)
    second = driver.glance(card.uuid)
    assert (first.power_w, second.power_w) == (75.0, 75.0)  # type: ignore[union-attr]
    assert 0.05 * 75.0 <= second.energy_j - first.energy_j < 75.0  # type: ignore[union-attr, operator]


def test_a_limit_set_by_one_process_holds_in_another(tmp_path: Path) -> None:
    state = VirtualState.create(tmp_path / "gpus", virtual_cards("n1", "H100", 2))
    script = (
        "import sys; from pathlib import Path; from wattlease.agent.virtual import Virtual\n"
        "driver = Virtual(Path(sys.argv[1])); card = driver.find()[1]; assert driver.limit(card.uuid, 333.0) is None"
    )
    subprocess.run([sys.executable, "-c", script, str(state.path)], check=True)
    assert state.enforced_w().tolist() == [700.0, 333.0]
    assert int(state.cards["set_calls"][1]) == 1
    assert int(state.cards["set_pid"][1]) > 1


def test_a_node_has_the_same_cards_after_every_restart() -> None:
    assert virtual_cards("n1", "A100", 8) == virtual_cards("n1", "A100", 8)
    assert len({card.uuid for node in ("n1", "n2") for card in virtual_cards(node, "A100", 8)}) == 16


def test_a_file_that_is_none_of_ours_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "gpus"
    with pytest.raises(VirtualStateError, match="no virtual GPUs there"):
        VirtualState(path)
    path.write_bytes(b"x")
    with pytest.raises(VirtualStateError, match="no virtual GPUs there"):
        VirtualState(path)
    path.write_bytes(bytes(10**6))
    with pytest.raises(VirtualStateError, match="make it anew"):
        VirtualState(path)
    told = Virtual(tmp_path / "nothing").find()
    assert getattr(told, "lost", False)


def test_more_than_the_slots_are_refused(tmp_path: Path) -> None:
    cards = virtual_cards("n1", "H100", 65)
    with pytest.raises(VirtualStateError, match="at most 64"):
        VirtualState.create(tmp_path / "gpus", cards)
    state = VirtualState.create(tmp_path / "gpus", cards[:64])
    with pytest.raises(VirtualStateError, match="64 slots"):
        state.plug(VirtualCard("GPU-x", "x", 1.0, 2.0, 2.0, 0.5))


def test_one_hang_is_one_call_s(tmp_path: Path) -> None:
    state = VirtualState.create(tmp_path / "gpus", virtual_cards("n1", "H100", 1))
    driver = Virtual(state.path)
    (card,) = driver.find()  # type: ignore[misc]
    state.hang(0, "set", 1.0, calls=1)
    began_s = time.monotonic()
    driver.limit(card.uuid, 300.0)
    between_s = time.monotonic()
    driver.limit(card.uuid, 310.0)
    assert between_s - began_s >= 1.0 > time.monotonic() - between_s
    assert state.enforced_w().tolist() == [310.0]
