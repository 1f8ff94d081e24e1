"""Original limits: on disk before the first write, never overwritten, never guessed."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wattlease.agent.cards import Card
from wattlease.agent.originals import Original, Originals

CARD = Card("GPU-0", 0, "H100", 200.0, 700.0, 700.0)
FIRST = Original.of(CARD, 650.0)


def test_a_later_start_finds_the_first_limit_and_does_not_overwrite_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "originals.json"
    assert Originals(path).keep({"GPU-0": FIRST}) is None
    later = Originals(path)
    assert later.keep({"GPU-0": Original.of(CARD, 300.0), "GPU-1": Original.of(CARD, 500.0)}) is None
    assert dict(Originals(path).kept) == {"GPU-0": FIRST, "GPU-1": Original.of(CARD, 500.0)}
    assert Originals(path).kept["GPU-0"].card("GPU-0") == CARD


def test_a_file_that_is_not_understood_is_neither_used_nor_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "originals.json"
    for nonsense in ("", "{", '{"version": 2, "cards": {}}', '{"version": 1, "cards": {"GPU-0": {"limit_w": -1}}}'):
        path.write_text(nonsense)
        originals = Originals(path)
        told = originals.keep({"GPU-0": FIRST})
        assert told is not None
        assert str(path) in told.text
        assert not originals.kept
        assert path.read_text() == nonsense


def test_a_place_that_cannot_be_written_is_told_and_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    originals = Originals(tmp_path / "file" / "originals.json")
    told = originals.keep({"GPU-0": FIRST})
    assert told is not None
    assert "stay as they are" in told.text
    assert not originals.kept


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process may hold a byte, as on a full disk; the test's own output neither, so it is brief."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "originals.json"
    Originals(path).keep({"GPU-0": FIRST})
    before = path.read_bytes()
    originals = Originals(path)
    with no_room():
        again, new = originals.keep({"GPU-0": FIRST}), originals.keep({"GPU-1": FIRST})
    assert again is None  # nothing new to save
    assert new is not None
    assert path.read_bytes() == before
    assert set(originals.kept) == {"GPU-0"}


def test_what_was_restored_is_forgotten(tmp_path: Path) -> None:
    originals = Originals(tmp_path / "originals.json")
    originals.keep({"GPU-0": FIRST, "GPU-1": FIRST})
    assert originals.forget(["GPU-0"]) is None
    assert set(Originals(originals.path).kept) == {"GPU-1"}
