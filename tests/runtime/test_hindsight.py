"""What a lower limit would have taken, read off a record of real decisions."""

from __future__ import annotations

import orjson
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wattlease.core.decide import decide
from wattlease.runtime.cli import main
from wattlease.runtime.hindsight import NoScopeError, hindsight
from wattlease.runtime.record import read_all

DRAWN_W = 1_850
"""About what the night's site draws; its limit lies far above."""


@pytest.fixture
def path(tmp_path, night, record):
    record(path := tmp_path / "record.jsonl", night, decide)
    return path


def run(*words) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["plan", *(str(word) for word in words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(500, 12_000), min_size=2, max_size=4))
def test_the_lower_the_limit_the_more_is_lost_and_never_less_than_was(path, limits_w) -> None:
    found = hindsight(read_all([path]), sorted(limits_w, reverse=True))
    lost = [one.lost_gpu_h for one in found]
    assert lost == sorted(lost)
    assert [one.over_s for one in found] == sorted(one.over_s for one in found)
    assert len({one.seen_s for one in found}) == 1


def test_a_limit_that_was_never_reached_takes_what_the_record_s_own_plans_took(path) -> None:
    own, same, higher = hindsight(read_all([path]), [7_000, 1_000_000])
    assert same.jobs == own.jobs
    assert higher.jobs == own.jobs
    assert (own.seen_s, own.over_s, own.unmet_s) == (5.0, 0.0, 0.0)


def test_a_limit_below_what_was_drawn_slows_jobs_without_being_passed(path) -> None:
    _, lower = hindsight(read_all([path]), [DRAWN_W - 100])
    assert (lower.over_s, lower.unmet_s) == (5.0, 0.0)
    assert 50.0 < lower.most_over_w < 150.0
    assert any(job.is_cut for job in lower.jobs.values())
    assert not any(job.paused_s for job in lower.jobs.values())


def test_a_limit_that_nothing_can_meet_pauses_who_may_be_paused_and_says_for_how_long_it_is_not_met(path) -> None:
    _, none = hindsight(read_all([path]), [100])
    assert none.unmet_s == 5.0
    assert max(job.paused_s for job in none.jobs.values()) == 5.0


def test_segments_are_taken_in_the_order_of_their_times_and_no_tick_twice(path, tmp_path, night, record) -> None:
    record(tmp_path / "again.jsonl", night[3:], decide)
    own, _ = hindsight(read_all([tmp_path / "again.jsonl", path]), [1_500])
    assert own.seen_s == 5.0


def test_a_budget_that_the_record_does_not_know_is_refused_with_those_it_knows(path) -> None:
    with pytest.raises(NoScopeError, match=r"no budget 'rack'; it has hall"):
        hindsight(read_all([path]), [1_000], "rack")
    code, told = run(path, "--limit", 1_000, "--budget", "rack")
    assert code != 0
    assert "it has hall" in told


def test_the_command_prints_a_row_for_each_limit_and_the_jobs_that_the_last_one_cuts(path) -> None:
    code, told = run(path, "--limit", 7_000, "--limit", DRAWN_W - 300)
    assert code == 0
    limits, jobs = told.split("\n\n")
    assert [line.split("\t")[0] for line in limits.splitlines()] == ["limit", "as it was", "7.0 kW", "1.6 kW"]
    assert jobs.splitlines()[0] == "under 1.6 kW:"
    assert any(line.startswith("j2\ttune\tbob\t1\t") for line in jobs.splitlines())


def test_where_nobody_would_have_been_cut_it_says_so(path) -> None:
    assert run(path, "--limit", 7_000)[1].endswith("\nno job would have been cut\n")


def test_programs_get_every_job_as_json(path) -> None:
    own, lower = orjson.loads(run(path, "--limit", DRAWN_W - 300, "--json")[1])
    assert (own["limit_w"], lower["limit_w"]) == (None, DRAWN_W - 300)
    assert set(lower["jobs"]) == {"j1", "j2"}


@pytest.mark.parametrize("wrong", ["0", "-5", "much"])
def test_a_limit_that_is_none_is_refused(path, wrong) -> None:
    code, told = run(path, "--limit", wrong)
    assert code == 2
    assert "--limit" in told
