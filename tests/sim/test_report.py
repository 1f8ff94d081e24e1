from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import orjson
import pytest
from playwright.sync_api import sync_playwright
from rich.console import Console

from wattlease.sim.report import pictures, report, write_report
from wattlease.sim.run import Event, JobRow, Overlay, Run, Series, Speed, Tariff
from wattlease.sim.summary import summary, tables
from wattlease.sim.thin import MOST_POINTS, bin_bounds, corners, extremes, means

START_S = 1_746_394_800.0
HOSTILE = "</script><img src=x onerror=alert(1)>"


def ride(policy: str, *, seconds: int = 21_600, seed: int = 1) -> Run:
    """Six hours with an event of three, six jobs, a battery and prices, made by formulas."""
    chance = np.random.default_rng(seed)
    t_s = START_S + np.arange(float(seconds))
    begin, end = START_S + seconds / 4, START_S + 3 * seconds / 4
    limit_w = np.interp(t_s, [begin, begin + 240], [102_400.0, 70_000.0])
    limit_w[t_s >= end] = 102_400.0
    aim_w = np.minimum(limit_w - 700, 93_000)
    release = np.clip((t_s - end) / 400, 0, 1)
    aim_w = np.where(t_s >= end, 69_300 + release * 23_700, aim_w)
    if policy == "uniform cap":
        aim_w = np.where(limit_w < 93_000, 0.97 * aim_w, aim_w)
    if policy == "no control":
        aim_w = np.full(seconds, 93_000.0)
    feed_w = aim_w * (1 + 0.006 * chance.standard_normal(seconds))
    names = ("ft-llama-8b", "infer-llama-8b-32g", "infer-llama-8b-a", "infer-llama-8b-b", "pt-mpt-13b", "pt-mpt-7b")
    classes, losses = ("flex 2", "flex 3", "flex 1", "flex 2", "flex 3", "flex 3"), (0.25, 0.5, 0.1, 0.25, 0.5, 0.5)
    depth = np.clip((93_000 - aim_w) / 23_000, 0, 1)
    speeds = [Speed(n, 1 - depth * keep) for n, keep in zip(names, (0.12, 0.13, 0.09, 0.12, 0.08, 0.15), strict=True)]
    jobs = [
        JobRow(n, c, 48, loss, START_S, START_S, np.nan, 280.0, 0.93, 3e8, 0.0, 1.06 + loss / 10, 0, 12.5,
               "capped at 277 W a GPU, keeps 88.0%, under site's 70.0 kW (event)")
        for n, c, loss in zip(names, classes, losses, strict=True)
    ]  # fmt: skip
    share = {"Training": 0.55, "Inference": 0.38, "Idle": 0.07}
    hour = (t_s - START_S) / 3600
    price = np.floor(hour) * 0.06 + 0.05
    discharge_w = np.where(limit_w < 90_000, 6_000.0, np.where(hour > 5, -8_000.0, 0.0))
    return Run(
        name="phoenix", policy=policy, seed=seed, t_s=t_s, feed_w=feed_w, limit_w=limit_w, planned_w=aim_w,
        throughput_frac=1 - depth * 0.11, series=tuple(Series("phoenix", k, feed_w * f) for k, f in share.items()),
        speeds=tuple(speeds), storage_w=discharge_w, soc_frac=0.9 - np.cumsum(discharge_w) / 2.4e8, reserve_frac=0.2,
        energy_per_kwh=price, carbon_g_per_kwh=400 - 40 * np.sin(hour), tariff=Tariff(14.0, 60.0),
        meter_window_s=60.0, ramp_w_per_s=23_700 / 400, jobs=tuple(jobs),
        events=(
            Event(START_S + 600, "site: preparing"),
            Event(begin, "event afternoon-peak: 70.0 kW", end),
            Event(begin + 31, "capped: pt-mpt-7b at 251 W a GPU, keeps 84%, under site's 70.0 kW (event)"),
            Event(end, "site: releasing"),
        ),
        facts={"cards": 256.0, "sweep": "dvfs_sweep.csv"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def run() -> Run:
    return ride("wattlease")


@pytest.fixture(scope="module")
def rivals(run) -> list[Run]:
    return [ride("no control"), ride("uniform cap"), run]


class Page(HTMLParser):
    """The parts of a page that the tests ask about."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def figures(html: str) -> list[dict]:
    return [json.loads(m) for m in re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)]


def test_the_figures_of_a_ride(run) -> None:
    made = summary(run)
    (event,) = made.events
    assert made.over_s == 0
    assert event.limit_w == 70_000
    assert event.settle_s == 240  # the ramp of the limit itself
    assert 69_000 < event.mean_w < 70_000
    assert event.worst_minute_w < event.limit_w + 1
    assert event.throughput_frac == pytest.approx(0.887, abs=0.005)
    assert event.rise_w == pytest.approx(23_700 / 400 * 60, rel=0.1)
    assert made.work_gpu_h == 6 * 280
    assert made.energy_kwh == pytest.approx(run.feed_w.sum() / 3.6e6)
    assert made.bill.demand > 14 * 92


def test_no_control_is_seen_to_be_over_the_limit() -> None:
    made = summary(ride("no control"))
    assert made.over_s > 10_000
    assert made.worst_minute_over_w == pytest.approx(23_000, rel=0.02)
    assert made.events[0].settle_s == np.inf


def test_a_span_that_lowers_no_limit_is_no_event(run) -> None:
    fault = Event(START_S + 600, "fault: stale n1", START_S + 900)
    assert len(summary(replace(run, events=(*run.events, fault))).events) == 1


def test_a_bare_run_has_a_summary_and_a_page() -> None:
    t_s = np.arange(90.0)
    bare = Run("bare", "wattlease", 1, t_s, np.full(90, 5e3), np.full(90, 6e3))
    made = summary(bare)
    assert (made.over_s, made.bill.total, made.classes, made.events) == (0, 0, (), ())
    assert len(figures(report([bare], [made]))) == 1


def test_the_folder_holds_all_that_the_report_needs(tmp_path, run, rivals) -> None:
    write_report(rivals, tmp_path / "out", Overlay(run.t_s[::60], run.feed_w[::60], "field trial"))
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"report.html", "plotly.min.js", "summary.json"}
    runs = orjson.loads((tmp_path / "out" / "summary.json").read_bytes())["runs"]
    assert [r["policy"] for r in runs] == ["no control", "uniform cap", "wattlease"]
    assert runs[0]["events"][0]["settle_s"] is None  # it never settled


def test_the_page_asks_no_other_host(rivals) -> None:
    made = Page(report(rivals, [summary(r) for r in rivals]))
    sources = [a[k] for _, a in made.tags for k in ("src", "href") if a.get(k)]
    assert sources == ["plotly.min.js"]


def test_every_picture_has_words_and_a_table(rivals, run) -> None:
    html = report(rivals, [summary(r) for r in rivals], Overlay(run.t_s, run.feed_w, "field trial"))
    made = Page(html)
    titles = re.findall(r"<figure>\n<h2>(.*?)</h2>", html)
    assert titles == [
        "Limit and draw",
        "Policies compared",
        "Draw by kind of work",
        "Battery and prices",
        "Speed of each job in the events",
    ]
    assert len(figures(html)) == len(made.all("details")) == len(titles)
    assert all(len(a["aria-label"] or "") > 30 for a in made.all("div") if a.get("class") == "plot")


def test_the_overlay_is_drawn_and_told(run) -> None:
    html = report([run], [summary(run)], Overlay(run.t_s[::60], run.feed_w[::60] * 0.9, "field trial"))
    assert "field trial" in [t["name"] for t in figures(html)[0]["traces"]]
    assert '<th scope="col">field trial, kW</th>' in html


def test_nothing_from_outside_becomes_markup(run) -> None:
    wild = replace(run, name=HOSTILE, policy=HOSTILE, facts={HOSTILE: HOSTILE}, events=(Event(START_S, HOSTILE),),
                   jobs=(replace(run.jobs[0], name=HOSTILE, job_class=HOSTILE, sentence=HOSTILE),),
                   series=(Series(HOSTILE, HOSTILE, run.feed_w),))  # fmt: skip
    made = Page(report([wild, replace(wild, seed=2)], [summary(wild)] * 2, Overlay(run.t_s, run.feed_w, HOSTILE)))
    assert not made.all("img")
    assert len(made.all("script")) == 7  # five pictures, plotly, ours


def test_many_jobs_are_shown_by_class(run) -> None:
    chance = np.random.default_rng(1)
    many = tuple(replace(run.jobs[i % 6], name=f"j{i}", slowdown=1 + chance.exponential(0.02)) for i in range(500))
    shown = pictures(replace(run, jobs=many), [], [summary(run)], None)
    assert [p.title for p in shown][-1] == "Slowdown by class"
    assert [row[0] for row in shown[-1].table] == ["class", "flex 1", "flex 2", "flex 3"]


def test_a_broken_class_is_said(run) -> None:
    jobs = (replace(run.jobs[0], breaches=2), *run.jobs[1:])
    shown = pictures(replace(run, jobs=jobs), [], [summary(run)], None)
    assert shown[-1].words == "1 jobs broke their class: ft-llama-8b · flex 2."


def test_a_week_is_thinned_without_hiding_its_peak() -> None:
    t_s = START_S + np.arange(604_800.0)
    feed_w = np.full(len(t_s), 1e5)
    feed_w[333_333] = 3e5
    bounds = bin_bounds(t_s)
    assert len(bounds) <= MOST_POINTS + 2
    assert extremes(t_s, feed_w, bounds)[1].max() == 3e5
    assert (means(t_s, feed_w, bounds) * np.diff(bounds)).sum() == pytest.approx(feed_w.sum())


def test_corners_keep_every_step_of_a_limit() -> None:
    t_s, limit_w = np.arange(100.0), np.repeat([5.0, 3.0, 4.0, 4.0], 25)
    at_s, level_w = corners(t_s, limit_w)
    assert at_s.tolist() == [0, 25, 50, 100]
    assert level_w.tolist() == [5, 3, 4, 4]
    assert len(corners(np.arange(5000.0), np.arange(5000.0))[0]) <= MOST_POINTS


def test_the_terminal_shows_the_runs_side_by_side(rivals) -> None:
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in tables([summary(r) for r in rivals]):
        console.print(table)
    text = console.export_text()
    assert re.search(r"over the limit +[\d,]+ s +0 s +0 s", text)
    assert "afternoon-peak" in text
    assert "slowdown p50 / p99, flex 1" in text


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_picture_is_drawn_and_nothing_overflows_a_phone(tmp_path, rivals, scheme) -> None:
    browser_path = shutil.which("chromium") or pytest.skip("needs Chromium")
    write_report(rivals, tmp_path)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
        said: list[str] = []
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.goto((tmp_path / "report.html").as_uri())
        shown.wait_for_function("document.querySelectorAll('.plot .main-svg').length >= 10")
        assert shown.locator("figure").count() == shown.locator(".plot.js-plotly-plot").count() == 5
        assert shown.evaluate("document.documentElement.scrollWidth") == 390
        assert said == []
        browser.close()
