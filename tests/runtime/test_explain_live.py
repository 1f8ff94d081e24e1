"""`wattlease explain JOBID` against the real page: jobs that are here, jobs that ended, jobs that a person means."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wattlease.core.decide import decide
from wattlease.core.memory import FRESH
from wattlease.core.model import NONE, Jobs, JobState, Prices, Snapshot
from wattlease.runtime.cli import main
from wattlease.runtime.job_accounts import JobAccounts
from wattlease.runtime.job_book import JobBook
from wattlease.runtime.job_names import meant, some
from wattlease.runtime.showing import Showing
from wattlease.runtime.story_jobs import Teller
from wattlease.runtime.web import Page, serving

NOBODY = "http://127.0.0.1:9"


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["explain", *map(str, words)])


def only(snapshot: Snapshot, *kept: int, ids: tuple[str, ...] = ()) -> Snapshot:
    """The snapshot with these of its jobs alone, under other ids where some are given."""
    jobs = snapshot.jobs
    columns = {
        name: tuple(value[j] for j in kept) if isinstance(value, tuple) else value[list(kept)]
        for name in jobs.__dataclass_fields__
        if (value := getattr(jobs, name)) is not None
    }
    job = np.array([kept.index(int(j)) if int(j) in kept else NONE for j in snapshot.gpus.job])
    named = replace(jobs, **columns | ({"id": ids} if ids else {}))
    return replace(snapshot, jobs=named, gpus=replace(snapshot.gpus, job=job))


def lived(folder: Path, ticks: list[Snapshot]) -> Page:
    """A page whose controller has decided these ticks, and written down who ended."""
    accounts, showing, memory = JobAccounts(folder / "jobs.jsonl"), Showing(), FRESH
    book = JobBook(accounts)
    page = Page(book)
    for snapshot in ticks:
        before = memory
        plan, memory = decide(snapshot, before)
        accounts.write(book.note(snapshot, plan))
        showing.note(snapshot, plan, memory)
        page.publish(showing.view(snapshot, plan, before, memory))
    return page


def crowd(night: Snapshot) -> Snapshot:
    """Ten jobs that wait, without cards."""
    ten, many = range(10), np.arange(10)
    zero, some_s = np.zeros(10, np.int64), np.full(10, night.now_s)
    names = tuple(f"c{j}" for j in ten)
    jobs = Jobs(
        names, names, ("ada",) * 10, ("a",) * 10, zero, np.full(10, JobState.HELD), np.ones(10, np.int64), zero, many,
        some_s, some_s, np.full(10, np.nan), np.zeros(10), np.full(10, np.nan), np.ones(10), np.full(10, NONE),
    )  # fmt: skip
    return replace(night, jobs=jobs, gpus=replace(night.gpus, job=np.full(2, NONE)))


async def asked(page: Page, *words: object) -> Result:
    async with serving(page, port=0) as address:
        return await asyncio.to_thread(run, *words, "--url", address)


@pytest.fixture
def minutes(night: list[Snapshot]) -> list[Snapshot]:
    """The night's ticks a minute apart, at a price and a carbon intensity."""
    prices = Prices(np.array([night[0].now_s - 3600.0]), np.array([0.25]), np.array([400.0]))
    return [replace(s, now_s=night[0].now_s + 60.0 * i, prices=prices) for i, s in enumerate(night)]


async def test_a_live_job_is_told_with_its_watts_speed_energy_money_and_what_happened(
    tmp_path: Path, minutes: list[Snapshot]
) -> None:
    result = await asked(lived(tmp_path, minutes), "j1")
    assert result.exit_code == 0, result.output
    who, now, why, times, used, *happened = result.output.splitlines()
    assert who == "job j1 (train, ada, a): running, 1 GPUs"
    row = "draws 351 W of 3.. W; cap 400 W a GPU; keeps 100.0% of its speed; steering costs 0.00 USD an hour"
    assert re.fullmatch(f"as of 2025-05-03 23:35:00 UTC; {row}", now)
    assert why.startswith("runs at full power, ")
    assert times == "from 2025-05-03 23:30:00 UTC: ran 5 min, did the work of 5 min at full speed"
    assert used == "used 29 Wh in its GPUs for 0.01 USD, 12 g of CO2, 0.00 USD of work lost to steering"
    assert happened == ["time (UTC)\twhat\twhy", "2025-05-03 23:30:00\tfirst seen running\t"]


async def test_a_job_that_ended_is_remembered_by_the_page(tmp_path: Path, minutes: list[Snapshot]) -> None:
    page = lived(tmp_path, [*minutes[:3], *(only(s, 1) for s in minutes[3:])])
    result = await asked(page, "train")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "job j1 (train, ada, a): ended, 1 GPUs"
    assert lines[1].startswith("told last: runs at full power, ")
    assert lines[2].startswith("from 2025-05-03 23:30:00 until 2025-05-03 23:32:00 UTC: ran 2 min")
    assert lines[-1] == "2025-05-03 23:33:00\tended\t"


async def test_a_job_that_the_page_does_not_know_is_looked_up_in_the_file(
    tmp_path: Path, minutes: list[Snapshot]
) -> None:
    lived(tmp_path, [*minutes[:3], only(minutes[3], 1)])
    unaware = lived(tmp_path, [only(s, 1) for s in minutes])
    with (tmp_path / "jobs.jsonl").open("ab") as file:
        file.write(b'{"job":"j1","name":"tr')  # cut short by a full disk
    assert (await asked(unaware, "j1")).exit_code == 2
    result = await asked(unaware, "j1", "--state-folder", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0] == "job j1 (train, ada, a): ended, 1 GPUs"
    assert "used 12 Wh in its GPUs for 0.00, 5 g of CO2, " in result.output


async def test_the_newest_of_several_runs_is_told_and_that_there_are_several(
    tmp_path: Path, minutes: list[Snapshot]
) -> None:
    ticks = [*minutes[:3], only(minutes[3], 1)]
    lived(tmp_path, ticks)
    lived(tmp_path, [replace(s, now_s=s.now_s + 3600.0) for s in ticks])
    result = run("j1", "--url", NOBODY, "--state-folder", tmp_path)
    assert result.exit_code == 0, result.output
    assert "127.0.0.1:9 cannot be reached: Connection refused; this is from the file of ended jobs" in result.output
    assert "from 2025-05-04 00:30:00 until 2025-05-04 00:32:00 UTC" in result.output
    assert result.output.endswith("the last of 2 runs that are written down\n")


def test_a_file_that_knows_no_such_job_or_is_not_there_is_said(tmp_path: Path, minutes: list[Snapshot]) -> None:
    words = ["j7", "--url", NOBODY, "--state-folder", tmp_path]
    assert "is this the controller's stateFolder?" in run(*words).output
    lived(tmp_path, [*minutes[:3], only(minutes[3], 1)])
    assert "no job j7 has ended" in run(*words).output


IDS = ["4711", "123_4", "123+1", "ns/name", "work on node-a", "123_[5-9]", "..", "a&name=b", "100%25", "ünï"]


@pytest.mark.parametrize("job", IDS)
async def test_ids_of_every_kind_reach_the_page_as_they_are_written(
    tmp_path: Path, minutes: list[Snapshot], job: str
) -> None:
    result = await asked(lived(tmp_path, [only(s, 0, ids=(job,)) for s in minutes[:2]]), job)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"job {job} (train, ada, a): running, 1 GPUs\n")


async def test_a_name_that_several_have_is_refused_with_their_ids(tmp_path: Path, minutes: list[Snapshot]) -> None:
    page = lived(tmp_path, [only(s, 0, 1, ids=("123_1", "123_2")) for s in minutes[:2]])
    told = await asked(page, "123")
    assert told.output == "Error: 123 may be any of 2 jobs; name one by its id: 123_1, 123_2\n"
    named = await asked(page, "123", "--state-folder", tmp_path)
    assert named.output == told.output  # no file is asked: the page does know them


async def test_a_job_that_nobody_knows_is_refused_with_where_to_look(tmp_path: Path, minutes: list[Snapshot]) -> None:
    result = await asked(lived(tmp_path, minutes), "j9")
    assert "no job j9 runs or waits here, nor is it among the last 1,000 that ended" in result.output
    assert "--state-folder finds those that ended before" in result.output


async def test_a_page_without_decisions_or_out_of_reach_is_said(tmp_path: Path) -> None:
    undecided = await asked(Page(JobBook(JobAccounts(tmp_path / "jobs.jsonl"))), "j1")
    assert "has nothing decided yet" in undecided.output
    away = run("j1", "--url", NOBODY)
    assert "127.0.0.1:9 cannot be reached: Connection refused; name the controller's page" in away.output


async def test_json_is_for_programs(tmp_path: Path, minutes: list[Snapshot]) -> None:
    told = orjson.loads((await asked(lived(tmp_path, minutes), "j1", "--json")).output)
    assert (told["id"], told["state"], told["draw_w"], told["cap_w"]) == ("j1", "running", 351.0, 400.0)
    assert told["account"]["energy_j"] == pytest.approx(sum(s.gpus.power_w[0] for s in minutes[1:]) * 60.0)
    assert told["entries"][0]["what"] == "first seen running"


def test_what_looks_like_a_record_is_not_taken_for_a_job(tmp_path: Path) -> None:
    for words in (["away.jsonl"], ["away.jsonl.gz"], ["4711", "train"]):
        result = run(*words)
        assert result.exit_code == 2
        assert f"there is no record {words[0]}; give the path of a record, or a job's id alone" in result.output
    result = run("4711", "--at", "2025-05-03T23:30:00Z")
    assert "--at is for a record: the live page tells of now" in result.output


@given(tasks=st.sets(st.integers(0, 60), min_size=1), asked_for=st.integers(0, 60))
def test_a_task_is_meant_by_the_waiting_rest_in_which_it_still_is(tasks: set[int], asked_for: int) -> None:
    rest = f"7_[{','.join(map(str, sorted(tasks)))}]"
    assert meant(f"7_{asked_for}", {rest: "a", "7_61": "a"}) == ((rest,) if asked_for in tasks else ())


@pytest.mark.parametrize(
    ("asked_for", "found"),
    [
        ("7_12", ("7_[5-9,12-20:4]",)),
        ("7_16", ("7_[5-9,12-20:4]",)),
        ("7_13", ()),
        ("7", ("7_1", "7_[5-9,12-20:4]", "7+0")),
        ("7_1", ("7_1",)),
        ("sweep", ("7_1", "7_[5-9,12-20:4]")),
    ],
)
def test_arrays_and_parts_are_found_by_what_people_call_them(asked_for: str, found: tuple[str, ...]) -> None:
    assert meant(asked_for, {"7_1": "sweep", "7_[5-9,12-20:4]": "sweep", "7+0": "het", "70": "other"}) == found


def test_long_lists_are_cut() -> None:
    assert some(map(str, range(10))) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(here=st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=12))
def test_memory_is_bounded_and_no_job_that_is_here_is_ever_forgotten(
    night: list[Snapshot], here: list[set[int]]
) -> None:
    teller = Teller(entries_max=3, ended_max=2)
    for tick, jobs in enumerate(here):
        snapshot = only(crowd(night[0]), *sorted(jobs))
        plan, _ = decide(replace(snapshot, now_s=snapshot.now_s + tick), FRESH)
        teller.hear(replace(snapshot, now_s=snapshot.now_s + tick), plan)
        stories = teller.stories
        assert {job for job, story in stories.items() if not story.ended} == {f"c{j}" for j in jobs}
        assert sum(story.ended for story in stories.values()) <= 2
        assert all(len(story.entries) <= 3 for story in stories.values())


def test_a_cap_is_news_when_it_slows_its_job_when_it_moves_and_when_it_is_over(night: list[Snapshot]) -> None:
    teller, snapshot = Teller(), only(night[0], 0)
    plan, _ = decide(snapshot, FRESH)
    for cap_w, speed_frac in ((390, 1), (350, 0.9), (350, 1), (350, 0.9), (340, 0.88), (300, 0.8), (400, 1), (390, 1)):
        one = replace(plan, cap_w=np.array([float(cap_w)]), speed_frac=np.array([float(speed_frac)]))
        teller.hear(snapshot, one)
    told = [entry.what for entry in teller.stories["j1"].entries]
    assert told == ["first seen running", "capped at 350 W a GPU", "capped at 300 W a GPU", "runs at full speed again"]
