from __future__ import annotations

import errno
import gzip
import logging
import os
from pathlib import Path

import orjson
import pytest

from wattlease.core.memory import FRESH
from wattlease.core.wire import plain
from wattlease.runtime.record import Recorder, RecordError, Tick, dumps, read, read_all


def lines(path: Path) -> list[bytes]:
    return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).splitlines()


def kinds(path: Path) -> str:
    return " ".join(next(iter(orjson.loads(line))) for line in lines(path))


@pytest.mark.parametrize("name", ["record.jsonl", "record.jsonl.gz"])
def test_what_was_written_is_read(tmp_path, night, evenly, record, name) -> None:
    record(tmp_path / name, night, evenly)
    ticks = list(read(tmp_path / name))
    assert [dumps(plain(t.snapshot)) for t in ticks] == [dumps(plain(s)) for s in night]
    assert [dumps(plain(t.plan)) for t in ticks] == [t.plan_json for t in ticks]
    assert [t.number for t in ticks] == [1, 2, 3, 4, 5, 6]
    assert ticks[-1].read_frac == 1.0
    assert dumps(plain(ticks[0].memory)) == dumps(plain(FRESH))
    assert all(t.memory is None for t in ticks[1:])


def test_the_site_is_written_when_it_changes_and_shared_by_the_ticks_that_follow(
    tmp_path, night, evenly, record
) -> None:
    path = tmp_path / "record.jsonl"
    record(path, night, evenly)
    assert kinds(path) == "record site tick tick tick site tick tick tick"
    sites = [t.snapshot.site for t in read(path)]
    assert sites[0] is sites[2]
    assert sites[2] is not sites[3]


def test_the_same_night_gives_the_same_bytes(tmp_path, night, evenly, record) -> None:
    for name in ("a.jsonl", "b.jsonl", "a.jsonl.gz", "b.jsonl.gz"):
        record(tmp_path / name, night, evenly)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


@pytest.mark.parametrize("settings", [{"segment_s": 2.0}, {"segment_bytes": 2500}])
@pytest.mark.parametrize("name", ["record.jsonl", "record.jsonl.gz"])
def test_every_segment_stands_alone(tmp_path, night, evenly, record, name, settings) -> None:
    record(tmp_path / name, night, evenly, **settings)
    segments = sorted(tmp_path.iterdir())
    assert len(segments) >= 3
    assert all(kinds(s).startswith("record site tick") for s in segments)
    ticks = sorted((t for s in segments for t in read(s)), key=lambda t: t.snapshot.now_s)
    assert [dumps(plain(t.snapshot)) for t in ticks] == [dumps(plain(s)) for s in night]


def test_a_record_that_is_there_is_set_aside_never_overwritten(tmp_path, night, evenly, record) -> None:
    for _ in range(3):
        record(tmp_path / "record.jsonl", night[:2], evenly)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["record-20250503T233000Z-2.jsonl", "record-20250503T233000Z.jsonl", "record.jsonl"]


@pytest.mark.parametrize("lost_bytes", [1, 2, 60])
def test_a_torn_last_line_is_skipped_and_said(tmp_path, night, evenly, record, lost_bytes, caplog) -> None:
    path = tmp_path / "record.jsonl"
    record(path, night, evenly)
    path.write_bytes(path.read_bytes()[:-lost_bytes])
    with caplog.at_level(logging.WARNING):
        assert len(list(read(path))) == (6 if lost_bytes == 1 else 5)  # only the line's end is missing: nothing is lost
    assert ("line=9 is torn" in caplog.text) == (lost_bytes > 1)


def test_a_torn_gzip_stream_gives_what_it_holds_and_says_so(tmp_path, night, evenly, record, caplog) -> None:
    path = tmp_path / "record.jsonl.gz"
    record(path, night, evenly)
    path.write_bytes(path.read_bytes()[:-60])
    with caplog.at_level(logging.WARNING):
        numbers = [t.number for t in read(path)]
    assert numbers in ([1, 2, 3, 4], [1, 2, 3, 4, 5])  # as many as the lost bytes leave
    assert "still being written, or torn" in caplog.text


def test_a_corrupt_line_in_the_middle_is_refused_with_its_number(tmp_path, night, evenly, record) -> None:
    path = tmp_path / "record.jsonl"
    record(path, night, evenly)
    some = lines(path)
    some[4] = some[4][:-9]
    path.write_bytes(b"\n".join(some) + b"\n")
    with pytest.raises(RecordError, match=r"record\.jsonl: line 5 is corrupt"):
        list(read(path))


def test_a_damaged_gzip_stream_is_refused(tmp_path, night, evenly, record) -> None:
    path = tmp_path / "record.jsonl.gz"
    record(path, night, evenly)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(RecordError, match=r"damaged after line \d|line \d is corrupt"):
        list(read(path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no tick"),
        ('{"hello": 1}\n{}\n', "line 1: not a line of a record"),
        ('{"tick": {}}\n{}\n', "line 1: not a line of a record"),
        ('{"record": {"version": 9}}\n{}\n', "line 1: written in another format"),
        ('{"record": {"version": 1, "memory": {"mood": 1}}}\n{}\n', "line 1: Memory: unknown field 'mood'"),
        ('{"record": {"version": 1, "memory": {}}}\n{"site": {"name": 4}}\n{}\n', r"line 2: Site\.name: expected str"),
    ],
)
def test_a_file_that_is_no_record_is_refused(tmp_path, text, says) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(RecordError, match=says):
        list(read(tmp_path / "file"))


def test_the_empty_record_of_a_controller_that_stood_by_stops_nobody_from_reading_the_other(
    tmp_path, night, evenly, record
) -> None:
    empty, full = tmp_path / "empty.jsonl", tmp_path / "full.jsonl"
    empty.touch()
    record(full, night, evenly)
    assert len(list(read_all([empty, full]))) == len(night)
    with pytest.raises(RecordError, match=r"empty\.jsonl: holds no tick"):
        list(read_all([empty]))


def test_a_missing_file_is_refused(tmp_path) -> None:
    with pytest.raises(RecordError, match="No such file"):
        list(read(tmp_path / "none.jsonl"))


def test_a_path_that_cannot_be_written_is_refused_before_the_first_tick(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="name a file in a folder that may be written"):
        Recorder(tmp_path / "file" / "record.jsonl")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_stops_the_recording_with_one_warning_and_nothing_else(
    night, evenly, record, tmp_path, caplog
) -> None:
    path = tmp_path / "record.jsonl"
    path.symlink_to("/dev/full")
    with caplog.at_level(logging.WARNING):
        recorder = record(path, night, evenly)
    assert os.strerror(errno.ENOSPC) in recorder.stopped
    assert caplog.text.count("stopped, control goes on") == 1


def test_a_name_that_is_no_text_stops_the_recording_not_the_control(tmp_path, night, evenly, caplog) -> None:
    path = tmp_path / "record.jsonl"
    plan, _ = evenly(night[0], FRESH)
    with caplog.at_level(logging.WARNING), Recorder(path) as recorder:
        recorder.write(night[0], plan, FRESH)
        object.__setattr__(night[1].jobs, "name", ("\udcff", "b"))
        recorder.write(night[1], plan, FRESH)
    assert "stopped" in caplog.text
    assert [t.number for t in read(path)] == [1]


def test_a_record_is_read_while_it_is_written(tmp_path, night, evenly) -> None:
    for path in (tmp_path / "record.jsonl", tmp_path / "record.jsonl.gz"):
        plan, _ = evenly(night[0], FRESH)
        with Recorder(path) as recorder:
            recorder.write(night[0], plan, FRESH)
            (tick,) = read(path)
    assert isinstance(tick, Tick)
