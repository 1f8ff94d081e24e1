"""What a cluster falls back to after a restart, before its facility is heard again."""

from __future__ import annotations

from pathlib import Path

import pytest

from wattlease.runtime.controller.lasting import files_in
from wattlease.runtime.controller.share_fallback import ShareFallback


def fallback(folder: Path) -> ShareFallback:
    return ShareFallback(files_in(folder)("share"), 5000.0)


def test_what_the_facility_guaranteed_last_outlasts_a_restart(tmp_path: Path) -> None:
    fallback(tmp_path).save(4000.0)
    again = fallback(tmp_path)
    again.load()
    assert again.watts_w == 4000.0


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"fallback_w": "much"}', b"[]"])
def test_where_nothing_of_use_was_kept_the_budget_says_it(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "share.json").write_bytes(content)
    found = fallback(tmp_path)
    found.load()
    assert found.watts_w == 5000.0


def test_what_cannot_be_saved_is_not_in_force(tmp_path: Path) -> None:
    found = fallback(tmp_path / "gone")
    with pytest.raises(OSError, match="gone"):
        found.save(6000.0)
    assert found.watts_w == 5000.0
