from __future__ import annotations

import numpy as np
import pytest

from wattlease.core.history import MOST_KEYS, keys, predict, remember, size, stem
from wattlease.core.memory import Seen
from wattlease.sim import instances
from wattlease.sim.instances import Shape

RATED_W = 700.0


@pytest.mark.parametrize(("name", "same"), [("train-17", "train"), ("llama.2026-01-05", "llama"), ("42", "42")])
def test_counters_and_dates_do_not_tell_one_job_from_the_next(name: str, same: str) -> None:
    assert stem(name) == same


@pytest.mark.parametrize(("gpus", "near"), [(0, 0), (1, 1), (7, 4), (8, 8), (100, 64)])
def test_sizes_are_rounded_down_to_a_power_of_two(gpus: int, near: int) -> None:
    assert size(gpus) == near


def test_the_most_telling_key_comes_first() -> None:
    snapshot = instances.snapshot(np.random.default_rng(1), Shape(running=1, sizes=(8,)))
    found = tuple(keys(snapshot.jobs, snapshot.site, 0))
    owner = snapshot.jobs.owner[0]
    kind = snapshot.site.terms[int(snapshot.jobs.terms[0])].kind
    assert found == (f"{owner}/job/H100x8", f"{owner}/*/H100", f"*/{kind}/H100")


def test_where_nothing_is_known_a_job_counts_at_rated_power() -> None:
    assert predict({"other": Seen(300.0, 10.0, 4, 0.0)}, ("a", "b"), RATED_W) == RATED_W


def test_what_is_most_like_the_job_is_believed_at_its_high_side_and_never_above_rated() -> None:
    known = {"a": Seen(300.0, 20.0, 4, 0.0), "b": Seen(600.0, 5.0, 9, 0.0), "c": Seen(690.0, 40.0, 1, 0.0)}
    assert predict(known, ("a", "b"), RATED_W) == 320.0
    assert predict(known, ("x", "b"), RATED_W) == 605.0
    assert predict(known, ("c",), RATED_W) == RATED_W


def test_a_finished_run_is_remembered_under_each_of_its_keys() -> None:
    before: dict[str, Seen] = {}
    after = remember(before, ("a", "b"), 400.0, 10.0)
    assert after == {"a": Seen(400.0, 40.0, 1, 10.0), "b": Seen(400.0, 40.0, 1, 10.0)}
    assert before == {}


def test_alike_runs_narrow_the_spread_and_unlike_ones_widen_it() -> None:
    alike = unlike = remember({}, ("a",), 400.0, 0.0)
    for run in range(20):
        alike = remember(alike, ("a",), 400.0, float(run))
        unlike = remember(unlike, ("a",), 300.0 + 200.0 * (run % 2), float(run))
    assert alike["a"].spread_w < 10.0 < 60.0 < unlike["a"].spread_w
    assert predict(unlike, ("a",), RATED_W) > 400.0


def test_an_owner_whose_jobs_change_is_followed_within_a_few_runs() -> None:
    known = {"a": Seen(300.0, 5.0, 1000, 0.0)}
    for run in range(8):
        known = remember(known, ("a",), 600.0, float(run))
    assert predict(known, ("a",), RATED_W) > 550.0


def test_keys_that_were_unused_for_longest_are_forgotten_first() -> None:
    known = {f"k{i:05d}": Seen(300.0, 5.0, 1, float(i)) for i in range(MOST_KEYS)}
    after = remember(known, ("new", "k00000"), 300.0, 1e6)
    assert len(after) == MOST_KEYS
    assert "k00001" not in after
    assert {"new", "k00000", "k00002"} <= after.keys()
