"""The verdict file: what is written is read back, stays small, and is whole or not believed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlease_slurm.verdict import KEYS_MAX, Verdict, draw_key, parsed, read

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(0, 10**9).map(lambda n: n / 1000)
kinds = st.from_regex(r"[a-z0-9_.*-]{1,12}", fullmatch=True)
verdicts = st.builds(
    Verdict,
    written_s=numbers,
    total_w=st.integers(0, 2**32 - 1),
    valid_s=numbers,
    licence=st.from_regex(r"[a-z0-9_-]{1,10}", fullmatch=True),
    mode=st.sampled_from(["Enforce", "Shadow"]),
    rated_w=st.dictionaries(kinds, numbers, max_size=3),
    draw_w=st.dictionaries(st.builds(draw_key, names, names, kinds) | kinds, numbers, max_size=5),
    margin=numbers,
    watts_per_cpu=numbers,
    fractions=st.dictionaries(kinds, numbers, max_size=3),
    node_gpus=st.dictionaries(names, st.integers(0, 16), max_size=3),
    types=st.dictionaries(names, kinds, max_size=3),
    operators=st.lists(st.integers(0, 2**31), max_size=3).map(tuple),
    qos=st.dictionaries(names, numbers, max_size=3),
    partitions=st.dictionaries(names, numbers, max_size=3),
    accounts=st.dictionaries(names, numbers, max_size=3),
    debts=st.dictionaries(names, numbers, max_size=3),
    debt_half=numbers,
    site_factor=st.integers(0, 10**6),
)


@given(verdicts)
def test_what_is_written_is_read_back(verdict: Verdict) -> None:
    assert parsed(verdict.text) == verdict


@given(verdicts, st.data())
def test_a_file_that_is_cut_anywhere_is_not_believed(verdict: Verdict, data: st.DataObject) -> None:
    text = verdict.text
    assert parsed(text[: data.draw(st.integers(0, len(text) - 1))]) is None


@given(verdicts, numbers)
def test_the_content_is_another_one_only_where_more_than_its_time_has_changed(verdict: Verdict, now_s: float) -> None:
    def content(v: Verdict) -> str:
        return v.text.splitlines()[3]

    assert content(replace(verdict, written_s=now_s)) == content(verdict)
    assert content(replace(verdict, total_w=verdict.total_w + 1)) != content(verdict)


@pytest.mark.parametrize(
    "text", ["", "end=wattlease\n", "wattlease=2\nend=wattlease\n", "wattlease=1\nend=wattlease\n"]
)
def test_what_is_no_verdict_is_none(text: str, tmp_path: Path) -> None:
    assert parsed(text) is None
    (tmp_path / "verdict").write_text(text)
    assert read(tmp_path / "verdict") is None
    assert read(tmp_path / "no such file") is None


def test_names_that_mean_something_in_the_file_do_not_break_a_line() -> None:
    verdict = Verdict(1.0, 10, debts={"a=b\nend=wattlease\n%": 3.0}, draw_w={draw_key("ü", "a/b=c", "H100"): 5.0})
    assert parsed(verdict.text) == verdict
    assert verdict.text.count("end=wattlease\n") == 1


def test_a_verdict_of_a_large_site_stays_small() -> None:
    many = {draw_key(f"user{i}", f"name-of-a-job-{i}-x", "h100"): 1.0 for i in range(3 * KEYS_MAX)}
    text = Verdict(1.0, 10, draw_w=many, debts={f"u{i}": 1.0 for i in range(2 * KEYS_MAX)}).text
    assert text.count("\ndraw.") == text.count("\ndebt.") == KEYS_MAX
    assert len(text) < 500_000
    assert "draw.user0/" in text
    assert Verdict(1.0, 10, draw_w={"k" * 300: 1.0}).text.count("draw.") == 0


@pytest.mark.parametrize(
    "wrong",
    [{"licence": "a,b"}, {"licence": ""}, {"margin": float("nan")}, {"rated_w": {"h100": -1.0}}, {"total_w": -1}],
)
def test_what_cannot_be_said_in_the_file_is_refused_and_the_one_before_stays(
    wrong: dict[str, Any], tmp_path: Path
) -> None:
    good = Verdict(1.0, 10)
    good.write(tmp_path / "verdict")
    with pytest.raises(ValueError, match=r"licence|number"):
        replace(good, **wrong).write(tmp_path / "verdict")
    assert read(tmp_path / "verdict") == good
    assert [path.name for path in tmp_path.iterdir()] == ["verdict"]


def test_a_verdict_is_readable_by_slurmctld_whatever_the_daemons_umask_is(tmp_path: Path) -> None:
    Verdict(1.0, 10).write(tmp_path / "verdict")
    assert (tmp_path / "verdict").stat().st_mode & 0o777 == 0o644
