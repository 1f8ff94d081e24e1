"""The controller's loop with a forecast beside it: what was learned of a site reaches the page."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightgbm", reason="lightgbm is not installed: pip install wattlease[facility]")
sys.path.insert(0, str(Path(__file__).parents[1] / "runtime" / "controller"))  # where the nodes stand in a module

from leased_nodes import Node, hall_settings, leading, until

from wattlease.core.model import Site
from wattlease.facility.forecast.history import History
from wattlease.facility.forecast.minutes import MINUTE_S, Minute
from wattlease.facility.surroundings import FacilitySurroundings
from wattlease.runtime.controller.controller import Controller
from wattlease.runtime.controller.work import BareWork
from wattlease.runtime.lease.store import StateFolder
from wattlease.runtime.site import site_of

DAY_S = 86_400.0
PATIENCE_S = 60.0
"""A training gives way to all other work of the machine."""


class Hall:
    """A controller of two nodes, its facility, and where the facility keeps what it learned."""

    def __init__(self, state: Path, **more: Any) -> None:
        settings = hall_settings(state, {"limitWatts": 9000, "guaranteedWatts": 1600, **more})
        self.nodes = Node("gpu-0001", jobs=("team/a",)), Node("gpu-0002", jobs=("team/b",))
        self.site: Site = site_of("hall", settings.groups, settings.budgets, ())
        self.around = FacilitySurroundings(settings.budgets, state)
        self.control = Controller(settings, StateFolder(state), BareWork(settings.profiles), self.around)

    @property
    def note(self) -> str:
        """What stands in the way of its forecast; empty before the first tick too."""
        standing = self.around.standing().forecasts.get("hall")
        return standing.note if standing else ""

    def shows_its_forecast(self) -> bool:
        """Whether the page's half hour ahead is what the forecast says; False while there is none."""
        told = self.around.around(self.site, time.time()).forecasts
        if self.control.page.view is None or not told:
            return False
        page, root = self.control.page.view.forecast, told[0]
        t_s, *shown_w = (np.asarray(column) for column in (page.t_s, page.p50_w, page.p90_w))
        later = t_s > t_s[0] + 400.0  # the minutes before are foreseen anew with each reading
        expected_w = [np.interp(t_s[later], root.at_s, quantile_w) for quantile_w in (root.p50_w, root.p90_w)]
        return bool(np.allclose(np.array(shown_w)[:, later], expected_w, atol=1.0))


def folder_in(state: Path) -> Path:
    return state / "facility" / "hall" / "forecast"


def recorded(state: Path, days: float) -> None:
    """Minutes until now, as an earlier process left them."""
    history, end_s = History(folder_in(state)), time.time() // MINUTE_S * MINUTE_S
    drawn_w = 3900.0 + np.random.default_rng(7).normal(0.0, 200.0, round(days * DAY_S / MINUTE_S))
    for k, mean_w in enumerate(drawn_w.tolist()):
        history.append(Minute(end_s - (len(drawn_w) - k) * MINUTE_S, mean_w, mean_w, mean_w))


async def test_what_was_learned_reaches_the_page_and_is_there_at_once_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(tmp_path, days=1.5)
    hall = Hall(tmp_path)
    async with leading(hall.control, *hall.nodes):
        await until(lambda: hall.control.page.view is not None)
        assert not hall.shows_its_forecast()
        await until(hall.shows_its_forecast, PATIENCE_S)
        assert hall.around.standing().forecasts["hall"].trained_until_s == pytest.approx(time.time(), abs=300.0)
    monkeypatch.setattr(sys, "executable", "no-python-here")  # no training comes to help
    after = Hall(tmp_path)
    async with leading(after.control, *after.nodes):
        await until(after.shows_its_forecast)


async def test_in_shadow_mode_it_learns_too(tmp_path: Path) -> None:
    hall = Hall(tmp_path, mode="Shadow")
    async with leading(hall.control, *hall.nodes):
        await until(lambda: "of record, a forecast needs 24" in hall.note)


async def test_a_record_that_cannot_be_read_costs_the_forecast_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder_in(tmp_path) / "week-02900.jsonl").mkdir(parents=True)
    hall = Hall(tmp_path)
    with caplog.at_level(logging.ERROR):
        async with leading(hall.control, *hall.nodes):
            await until(lambda: any("forecasts: failed" in record.message for record in caplog.records))
            await until(lambda: all(node.cards_w > 0.99 * 4 * node.wants_w for node in hall.nodes))
    assert sum("forecasts: failed" in record.message for record in caplog.records) == 1
