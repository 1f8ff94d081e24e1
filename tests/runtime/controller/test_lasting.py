"""What a controller knows of jobs after a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wattlease.core.memory import FRESH, Seen
from wattlease.runtime.controller.lasting import EVERY_S, KeptFile, Lasting


def test_what_was_learned_of_jobs_and_is_owed_outlasts_a_restart(tmp_path: Path) -> None:
    memory = replace(FRESH, history={"ada/train/H100x8": Seen(512.5, 20.0, 3, 1.5e9)}, debts={"bob": 12.5})
    Lasting(KeptFile(tmp_path / "learned.json")).save(memory)
    found = Lasting(KeptFile(tmp_path / "learned.json")).load()
    assert found.history == memory.history
    assert found.debts == memory.debts


@pytest.mark.parametrize("content", [b"", b"{}", b'{"history": {"a": {}}, "debts": {}}', b'{"history": 3, "debts": 4}'])
def test_a_file_that_cannot_be_read_is_a_memory_that_knows_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "learned.json").write_bytes(content)
    assert Lasting(KeptFile(tmp_path / "learned.json")).load() is FRESH


def test_it_is_saved_now_and_then_and_a_folder_that_is_gone_is_no_reason_to_stop(tmp_path: Path) -> None:
    lasting = Lasting(KeptFile(tmp_path / "gone" / "learned.json"))
    assert [lasting.due(at_s) for at_s in (0.0, EVERY_S / 2, EVERY_S, 2 * EVERY_S)] == [True, False, True, True]
    lasting.save(FRESH)
    assert lasting.load() is FRESH
