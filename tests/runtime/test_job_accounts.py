"""What jobs are charged for, over six ticks of a site with two of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from wattlease.core.decide import decide
from wattlease.core.memory import FRESH
from wattlease.core.model import NONE, Prices, Snapshot
from wattlease.runtime.job_accounts import JobAccount, JobAccounts


def charged(accounts: JobAccounts, night: list[Snapshot]) -> list[JobAccount]:
    memory, ended = FRESH, []
    for snapshot in night:
        plan, memory = decide(snapshot, memory)
        ended += accounts.note(snapshot, plan)
    return ended


def test_energy_is_draw_times_the_time_between_ticks(tmp_path: Path, night: list[Snapshot]) -> None:
    accounts = JobAccounts(tmp_path / "jobs.jsonl")
    assert charged(accounts, night) == []
    drawn_j = sum(float(snapshot.gpus.power_w[0]) for snapshot in night[1:])  # ticks are a second apart
    account = accounts.of("j1")
    assert account is not None
    assert account.energy_j == pytest.approx(drawn_j)
    assert account.ran_s == pytest.approx(len(night) - 1)
    assert account.speed_s <= account.ran_s


def test_energy_is_priced_and_its_carbon_counted_at_the_hours_own_figures(
    tmp_path: Path, night: list[Snapshot]
) -> None:
    prices = Prices(np.array([night[0].now_s - 3600.0]), np.array([0.25]), np.array([400.0]))
    accounts = JobAccounts(tmp_path / "jobs.jsonl")
    charged(accounts, [replace(snapshot, prices=prices) for snapshot in night])
    account = accounts.of("j1")
    assert account is not None
    kwh = account.energy_j / 3.6e6
    assert account.energy_cost == pytest.approx(0.25 * kwh)
    assert account.carbon_g == pytest.approx(400.0 * kwh)


def test_a_job_that_has_gone_is_one_line_and_one_that_never_ran_is_none(
    tmp_path: Path, night: list[Snapshot], without_job: Callable[[Snapshot, int], Snapshot]
) -> None:
    accounts = JobAccounts(tmp_path / "jobs.jsonl")
    ended = charged(accounts, [*night[:2], without_job(night[2], 1), without_job(night[3], 0)])
    accounts.write(ended)
    lines = [orjson.loads(line) for line in (tmp_path / "jobs.jsonl").read_bytes().splitlines()]
    assert [line["job"] for line in lines] == ["j1"]
    assert lines[0]["owner"] == "ada"
    assert lines[0]["ran_s"] > 0.0


@pytest.fixture
def without_job() -> Callable[[Snapshot, int], Snapshot]:
    """The snapshot without one of its jobs."""
    return _without


def _without(snapshot: Snapshot, gone: int) -> Snapshot:
    jobs = snapshot.jobs
    kept = [j for j in range(len(jobs.id)) if j != gone]
    columns = {
        name: tuple(value[j] for j in kept) if isinstance(value, tuple) else value[kept]
        for name in jobs.__dataclass_fields__
        if (value := getattr(jobs, name)) is not None
    }
    job = np.array([kept.index(int(j)) if int(j) in kept else NONE for j in snapshot.gpus.job])
    return replace(snapshot, jobs=replace(jobs, **columns), gpus=replace(snapshot.gpus, job=job))
