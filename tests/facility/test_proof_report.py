"""`wattlease report`, from a record that a recorder wrote to the page in a browser."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from click.testing import CliRunner, Result

from wattlease.core.actions import Plan
from wattlease.core.memory import Memory
from wattlease.core.model import JobState, Snapshot, Window
from wattlease.facility.report_commands import report
from wattlease.runtime.record import Recorder

STEP_S = 30.0
EVENT_S = 3600.0


def record(path: Path, night: list[Snapshot], evenly: object, windows: list[tuple[float, float, Window]]) -> Path:
    """Three hours at half a minute. A window is told from and until its times; in the event less is drawn."""
    first = night[-1]
    begun_s = first.now_s
    with Recorder(path) as recorder:
        for k in range(360):
            now_s = begun_s + STEP_S * k
            told = tuple(
                replace(w, start_s=begun_s + w.start_s, end_s=begun_s + w.end_s)
                for a, b, w in windows
                if a <= STEP_S * k < b
            )
            inside = any(w.source == "event" and w.start_s <= now_s < w.end_s for w in told)
            paused = JobState.PAUSED if inside and k % 2 else JobState.RUNNING
            jobs = replace(first.jobs, state=np.array([JobState.RUNNING, paused]))
            snapshot = replace(first, now_s=now_s, windows=told, jobs=jobs)
            plan: Plan = evenly(snapshot, Memory())[0]  # type: ignore[operator]
            scopes = tuple(replace(p, draw_w=600.0 if inside else 900.0) for p in plan.scopes)
            cost = np.array([0.0, 7.2 if inside else 0.0])
            speed = np.array([0.75 if inside else 1.0, 1.0])
            recorder.write(snapshot, replace(plan, scopes=scopes, cost_per_h=cost, speed_frac=speed), Memory())
    return path


def peak(name: str = "peak", end_s: float = 2 * EVENT_S) -> Window:
    return Window(0, "event", name, EVENT_S, end_s, 650.0, 60.0)


def run(*words: object) -> Result:
    return CliRunner().invoke(report, [str(word) for word in words], catch_exceptions=True)


@pytest.fixture
def evening(tmp_path: Path, night: list[Snapshot], evenly: object) -> Path:
    schedule = Window(0, "schedule", "night", 0.0, 9000.0, 800.0)
    return record(tmp_path / "ticks.jsonl", night, evenly, [(1800, 20_000, peak()), (0, 20_000, schedule)])


def test_an_event_is_proved_with_what_was_asked_delivered_and_paid(evening: Path) -> None:
    found = orjson.loads(run(evening, "--event", "peak", "--json").output)
    assert found["baseline"]["method"] == "hour-before"
    assert found["baseline_w"] == pytest.approx(900.0)
    assert found["asked_w"] == pytest.approx(250.0)
    assert found["delivered_w"] == pytest.approx(300.0)
    assert found["performance"] == pytest.approx(1.2)
    assert found["duration_s"] == 3600.0
    assert found["over_kwh"] == 0.0
    assert found["settle_s"] == 0.0
    assert found["cancelled"] is False
    assert found["job_cost"] == pytest.approx(7.2)
    paid = {job["job"]: job for job in found["jobs"]}
    assert paid["j1"]["speed_kept"] == pytest.approx(0.75)
    assert paid["j2"]["cost"] == pytest.approx(7.2)
    assert paid["j2"]["paused_seconds"] == pytest.approx(1800.0)
    assert paid["j2"]["gpu_hours_lost"] == pytest.approx(0.5)


def test_files_for_people_programs_and_spreadsheets_say_the_same(evening: Path, tmp_path: Path) -> None:
    result = run(evening, "--event", "peak", "--out", tmp_path / "proof", "--time-zone", "Europe/Berlin")
    assert result.exit_code == 0
    assert "asked     250 W, delivered 300 W" in result.output
    proof = orjson.loads((tmp_path / "proof" / "proof.json").read_bytes())
    rows = list(csv.DictReader((tmp_path / "proof" / "minutes.csv").open()))
    inside = [row for row in rows if row["baseline_w"]]
    assert len(rows) == 180
    assert len(inside) == 60
    mean_w = np.mean([float(row["baseline_w"]) - float(row["draw_w"]) for row in inside])
    assert mean_w == pytest.approx(proof["delivered_w"])
    assert [row["job"] for row in csv.DictReader((tmp_path / "proof" / "jobs.csv").open())] == ["j2", "j1"]
    page = (tmp_path / "proof" / "report.html").read_text()
    assert "hour-before, mean of the hour before the start" in page
    assert "http" not in page.split("<script>")[0]


def test_without_a_name_every_event_is_listed_and_one_that_was_cancelled_is_marked(
    tmp_path: Path, night: list[Snapshot], evenly: object
) -> None:
    windows = [(0.0, 20_000.0, peak()), (0.0, 5400.0, peak("gone")), (0.0, 1800.0, peak("never"))]
    path = record(tmp_path / "ticks.jsonl", night, evenly, windows)
    lines = run(path).output.splitlines()
    assert [line.split()[0] for line in lines] == ["gone", "peak"]
    assert "(cancelled)" in lines[0]
    assert "down to 650 W" in lines[1]
    found = orjson.loads(run(path, "--event", "gone", "--json").output)
    assert found["cancelled"]
    assert found["duration_s"] == pytest.approx(1800.0, abs=STEP_S)


def test_segments_are_read_as_one_record_whatever_their_order(
    tmp_path: Path, night: list[Snapshot], evenly: object
) -> None:
    whole = record(tmp_path / "ticks.jsonl", night, evenly, [(0, 20_000, peak())])
    lines = whole.read_bytes().splitlines(keepends=True)
    head, site, ticks = lines[0], lines[1], lines[2:]
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_bytes(b"".join([head, site, *ticks[:200]]))
    second.write_bytes(b"".join([head, site, *ticks[180:]]))
    expected = run(whole, "--event", "peak", "--json").output
    assert orjson.loads(run(second, first, "--event", "peak", "--json").output) == orjson.loads(expected)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--event", "peek"), "no event 'peek' in these records; there: peak"),
        (("--event", "peak", "--baseline", "like-days"), "0 like days"),
        (("--event", "peak", "--time-zone", "Mars/Olympus"), "no time zone"),
        (("--event", "peak", "--scope", "rack"), "no event 'peak'"),
    ],
)
def test_what_cannot_be_proved_is_said(evening: Path, words: tuple[str, ...], told: str) -> None:
    result = run(evening, *words)
    assert result.exit_code != 0
    assert told in result.output + str(result.exception)


def test_names_from_users_are_text_in_the_page_and_in_the_spreadsheet(
    tmp_path: Path, night: list[Snapshot], evenly: object
) -> None:
    wild = [replace(s, jobs=replace(s.jobs, name=("<script>alert(1)</script>", "=HYPERLINK(1)"))) for s in night]
    path = record(tmp_path / "t.jsonl", wild, evenly, [(0, 20_000, peak())])
    assert run(path, "--event", "peak", "--out", tmp_path / "p").exit_code == 0
    assert "<script>alert" not in (tmp_path / "p" / "report.html").read_text()
    assert next(csv.DictReader((tmp_path / "p" / "jobs.csv").open()))["name"] == "'=HYPERLINK(1)"


@pytest.mark.browser
def test_the_page_draws_its_chart_alone_in_light_and_dark(evening: Path, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    assert run(evening, "--event", "peak", "--out", tmp_path / "alone").exit_code == 0
    said: list[str] = []
    grounds: list[list[int]] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
        page.goto((tmp_path / "alone" / "report.html").as_uri())
        page.wait_for_selector(".plot .main-svg")
        assert page.locator(".plot .scatterlayer .trace").count() == 4
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            colours = [page.evaluate(f"getComputedStyle(document.body).{p}") for p in ("color", "backgroundColor")]
            grounds.append([sum(map(int, colour[4:-1].split(","))) for colour in colours])
        browser.close()
    assert said == []
    (light_ink, light), (dark_ink, dark) = grounds
    assert light_ink < light
    assert dark_ink > dark
