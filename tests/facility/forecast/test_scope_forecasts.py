"""The forecasts of a site's scopes: told of every tick, trained one at a time, and the same after a restart."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forecast_courses import DAY_S, START_S, daily
from prometheus_client import CollectorRegistry, generate_latest

from wattlease.core.api import PowerBudget
from wattlease.core.decide import decide
from wattlease.core.memory import FRESH
from wattlease.facility.forecast.checks import trees_load
from wattlease.facility.forecast.history import History
from wattlease.facility.forecast.metrics import ForecastMetrics
from wattlease.facility.forecast.minutes import MINUTE_S, Minute
from wattlease.facility.forecast.note import wanted_w
from wattlease.facility.forecast.scope_forecasts import Foreseen, ScopeForecasts, Tick
from wattlease.facility.forecast.standing import HorizonStanding, Standing
from wattlease.sim import instances
from wattlease.sim.instances import Shape

DAYS = 1.5
"""Enough for a forecast, too little to learn from: such a training is quick."""

PATIENCE_S = 90.0
"""A training gives way to all other work of the machine."""


def recorded(folder: Path, days: float = DAYS) -> float:
    """Minutes as an earlier process left them; when they end."""
    history = History(folder)
    for k, mean_w in enumerate(daily(days, 60.0).mean_w.tolist()):
        history.append(Minute(START_S + k * MINUTE_S, mean_w, mean_w, mean_w))
    return START_S + days * DAY_S


def tick(now_s: float, racks: int = 2) -> Tick:
    snapshot = instances.snapshot(np.random.default_rng(3), Shape(running=20, waiting=4, limit_frac=2.0, racks=racks))
    snapshot = replace(snapshot, now_s=now_s)
    plan, memory = decide(snapshot, FRESH)
    return Tick(snapshot, plan, memory)


def at(told: Tick, now_s: float) -> Tick:
    return replace(told, snapshot=replace(told.snapshot, now_s=now_s))


def folders_of(told: Tick, folder: Path) -> dict[str, Path]:
    return {scope.id: folder / scope.id for scope in told.snapshot.site.scopes}


def trained(scopes: ScopeForecasts, told: Tick) -> tuple[Foreseen, int]:
    """What is foreseen once every scope has its models, and the most trainings that ran at once."""
    most, now_s, begun_s = 0, told.snapshot.now_s, time.monotonic()
    while (waited_s := time.monotonic() - begun_s) < PATIENCE_S:
        foreseen = scopes.look(at(told, now_s + waited_s))
        most = max(most, len(scopes.training))
        if all(one.trained_until_s for one in foreseen.standing.values()) and not scopes.training:
            return foreseen, most
        time.sleep(0.05)
    raise AssertionError({name: one.note for name, one in foreseen.standing.items()})


def test_every_scope_is_trained_but_one_at_a_time(tmp_path: Path) -> None:
    told = tick(0.0)
    folders = dict(list(folders_of(told, tmp_path).items())[1:])  # a scope that is not asked for is left alone
    [end_s] = {recorded(folder) for folder in folders.values()}
    scopes = ScopeForecasts(folders, "UTC")
    try:
        foreseen, most = trained(scopes, at(told, end_s + 1.0))
    finally:
        scopes.close()
    assert most == 1
    assert [[one.scope for one in foreseen.forecasts[name]] for name in folders] == [[1], [2]]


def test_a_minute_keeps_the_wanted_draw_and_what_is_known_of_the_queue(tmp_path: Path) -> None:
    told = tick(START_S)
    folders = folders_of(told, tmp_path)
    scopes = ScopeForecasts(folders, "UTC")
    for k in range(31):
        scopes.look(at(told, START_S + 10.0 * k))
    root, *racks = (list(History(folder).minutes()) for folder in folders.values())
    assert [minute.start_s - START_S for minute in root] == [0.0, 60.0, 120.0, 180.0, 240.0]
    for s, minutes in enumerate((root, *racks)):
        expected_w = wanted_w(told.snapshot, told.plan, told.memory, s)
        assert [minute.mean_w for minute in minutes] == pytest.approx([expected_w] * 5, abs=0.1)
    assert all(minute.known.waiting_w > 0.0 for minute in root)
    assert all(np.isnan(minute.known.waiting_w) for rack in racks for minute in rack)


def test_without_the_trees_library_the_rest_foresees_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "lightgbm.py").write_text("raise OSError('libgomp.so.1: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    told = tick(0.0, racks=1)
    name = told.snapshot.site.scopes[0].id
    folders = {name: tmp_path / name, "other": tmp_path / "other"}
    [end_s] = {recorded(folder, days=3.2) for folder in folders.values()}
    scopes = ScopeForecasts(folders, "UTC")
    with caplog.at_level(logging.WARNING):
        foreseen, _ = trained(scopes, at(told, end_s + 1.0))
    assert len(foreseen.forecasts[name]) == 1
    said = [record.message for record in caplog.records if "libgomp" in record.message]
    assert len(said) == 1, said


def test_a_training_that_fails_is_said_with_its_last_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = tick(0.0, racks=1)
    name = told.snapshot.site.scopes[0].id
    end_s = recorded(tmp_path)
    (tmp_path / "models.json").mkdir()
    scopes = ScopeForecasts({name: tmp_path}, "UTC")
    with caplog.at_level(logging.WARNING):
        begun_s = time.monotonic()
        while "training ended with 1" not in caplog.text and (waited_s := time.monotonic() - begun_s) < PATIENCE_S:
            scopes.look(at(told, end_s + waited_s))
            time.sleep(0.05)
    words = [record.message for record in caplog.records if "training ended" in record.message]
    assert len(words) == 1
    assert "directory" in words[0]


def test_a_scrape_sees_each_horizon_once_and_of_one_that_was_not_judged_no_skill() -> None:
    def horizon(ahead_s: float, judged: int, skill: float) -> HorizonStanding:
        return HorizonStanding(ahead_s, "persistence", "", skill > 0.0, skill, skill, 0.875, judged)

    served = (horizon(300.0, 40, 0.0), horizon(600.0, 40, 0.5), horizon(3600.0, 40, 0.25), horizon(3600.0, 40, 0.75))
    standing = Standing(1.5e9, (*served, horizon(86_400.0, 0, 0.0)), "")
    registry = CollectorRegistry()
    registry.register(ForecastMetrics(lambda: {"hall": standing}))
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert [line.removeprefix("wattlease_forecast_") for line in lines if "under" not in line] == [
        'skill_ratio{ahead_seconds="300",scope="hall"} 0.0',
        'skill_ratio{ahead_seconds="3600",scope="hall"} 0.25',
        'learned{ahead_seconds="300",scope="hall"} 0.0',
        'learned{ahead_seconds="3600",scope="hall"} 1.0',
        'learned{ahead_seconds="86400",scope="hall"} 0.0',
        'trained_timestamp_seconds{scope="hall"} 1.5e+09',
    ]


async def test_the_doctor_says_where_the_trees_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    metered = {"name": "feed", "kind": "SunSpec", "sunSpec": {"host": "127.0.0.1"}}
    spec = {"limitWatts": 1000, "meters": [metered]}
    budget, plain = (
        PowerBudget.model_validate({"metadata": {"name": "hall"}, "spec": each})
        for each in (spec, {"limitWatts": 1000})
    )
    assert await trees_load([budget]) == ()
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    [finding] = await trees_load([budget])
    assert not finding.ok
    assert "libgomp1" in finding.fix
    assert await trees_load([plain]) == ()
