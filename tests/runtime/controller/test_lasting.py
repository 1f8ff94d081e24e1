"""What a controller knows of jobs after a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wattlease.core.kept_overhead import KeptOverhead, kept, resumed
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


ROW = KeptOverhead(
    overhead_w=1180.0,
    it_at_w=2800.0,
    it_mean_w=2700.0,
    it_var=90.0,
    overhead_mean_w=1170.0,
    overhead_cov=9.0,
    looks=60.0,
)


def test_what_was_learned_of_overhead_outlasts_a_restart_by_its_scopes_name(tmp_path: Path) -> None:
    memory = replace(FRESH, scopes=resumed(["campus", "hall"], {"campus": ROW, "hall": replace(ROW, looks=3.0)}))
    Lasting(KeptFile(tmp_path / "learned.json")).save(memory, ["campus", "hall"])
    found = Lasting(KeptFile(tmp_path / "learned.json")).load(["hall", "campus", "new"])
    assert kept(["hall", "campus", "new"], found.scopes) == {"campus": ROW}, "the hall was hardly seen"
    assert np.isnan(found.scopes.overhead_w).tolist() == [True, False, True]


def test_a_file_from_before_overhead_was_kept_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "learned.json").write_bytes(b'{"history": {}, "debts": {"bob": 12.5}}')
    found = Lasting(KeptFile(tmp_path / "learned.json")).load(["hall"])
    assert found.debts == {"bob": 12.5}
    assert np.isnan(found.scopes.overhead_w).all()


@pytest.mark.parametrize("row", [b"{}", b"3", b'{"overhead_w": "much"}', b'{"overhead_w": null}'])
def test_rows_of_overhead_that_cannot_be_read_are_a_memory_that_knows_nothing(tmp_path: Path, row: bytes) -> None:
    (tmp_path / "learned.json").write_bytes(b'{"history": {}, "debts": {}, "overheads": {"hall": ' + row + b"}}")
    assert Lasting(KeptFile(tmp_path / "learned.json")).load(["hall"]) is FRESH
