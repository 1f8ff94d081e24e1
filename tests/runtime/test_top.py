"""`wattlease top`: its frames fit, say what is so, and follow a real page on a real terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import TypeAlias

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.runtime.live import Away, Live
from wattlease.runtime.live_words import Seen, SeenJob, SeenPast
from wattlease.runtime.top import top
from wattlease.runtime.top_frame import page
from wattlease.runtime.top_jobs import Table, ordered
from wattlease.runtime.top_line import spark
from wattlease.runtime.view import SiteView
from wattlease.runtime.web import Page, serving

DocumentOf: TypeAlias = Callable[..., SiteView]
HOSTILE = "\x1b[2J\x07\n<b>[red]"

unknown = st.none() | st.floats(0.0, 1e6)
texts = st.text(max_size=50)
sorts = st.sampled_from(["watts", "cost", "name"])
states = st.sampled_from(["running", "capped", "paused", "held", "a state of the future"])
jobs = st.lists(
    st.builds(
        SeenJob, id=texts, name=texts, owner=texts, state=states, gpus=st.integers(0, 9999), draw_w=unknown,
        speed_frac=st.none() | st.floats(0.0, 1.0), cost_per_h=unknown, reason=texts,
    ),
    max_size=12,
    unique_by=lambda job: job.id,
).map(tuple)  # fmt: skip


def seen_of(view: SiteView) -> Seen:
    return Seen.model_validate_json(view.whole_json())


@settings(max_examples=40, deadline=None)
@given(table=jobs, width=st.integers(40, 200), height=st.integers(16, 60), first=st.integers(-5, 99), sort=sorts)
def test_every_frame_fits_its_screen_whatever_jobs_are_called(document, table, width, height, first, sort) -> None:
    seen = seen_of(document()).model_copy(update={"jobs": table})
    lines, begun = page(seen, sort, width, height, first, ["why it is not of now"])
    assert len(lines) <= height
    assert all(line.cell_len <= width for line in lines)
    assert 0 <= begun <= 2 * len(table)
    assert all(c.isprintable() for line in lines for c in line.plain)


@settings(max_examples=40, deadline=None)
@given(table=jobs, sort=sorts)
def test_sorting_keeps_every_job_and_the_order_in_which_they_came_does_not_matter(table, sort) -> None:
    assert sorted(ordered(table, sort), key=repr) == sorted(table, key=repr)
    assert ordered(table, sort) == ordered(table[::-1], sort)


@given(
    moments=st.lists(st.tuples(st.floats(0.0, 3000.0), unknown, unknown), max_size=30),
    width=st.integers(1, 200),
    rows=st.integers(1, 3),
)
def test_the_past_is_as_wide_and_high_as_it_is_asked_to_be(moments, width, rows) -> None:
    columns = zip(*moments, strict=True) if moments else ((), (), ())
    past = SeenPast(**dict(zip(("t_s", "limit_w", "draw_w"), map(tuple, columns), strict=True)))
    assert [line.cell_len for line in spark(past, 3000.0, width, rows)] == [width] * rows


def test_a_moment_over_the_limit_is_red_and_one_of_which_nothing_is_known_is_blank() -> None:
    past = SeenPast(t_s=(1000.0, 2000.0), limit_w=(100.0, 100.0), draw_w=(50.0, 120.0))
    [line] = spark(past, 2400.0, 18)
    assert line.plain.strip() == "▃" + " " * 9 + "█"
    assert [str(span.style) for span in line.spans if line.plain[span.start] == "█"] == ["red"]


def test_a_narrow_screen_tells_why_below_the_jobs_that_something_is_done_to(document: DocumentOf) -> None:
    lines = Table(seen_of(document()), "watts", 80).rows()
    at = next(i for i, line in enumerate(lines) if "llama-pretrain-70b" in line.plain)
    assert lines[at + 1].plain.startswith("  capped at 310 W a GPU: feed A is 1.9 kW over")
    alone = next(i for i, line in enumerate(lines) if "chat-frontend" in line.plain)
    assert "14.9 kW" in lines[alone].plain
    assert not lines[alone + 1].plain.startswith("  ")


def test_a_wide_screen_tells_why_beside_each_job(document: DocumentOf) -> None:
    table = Table(seen_of(document()), "watts", 160)
    assert table.titles().plain.split() == ["job", "name", "owner", "GPUs", "watts", "speed", "USD/h", "why"]
    [line] = [line.plain for line in table.rows() if "llama-pretrain-70b" in line.plain]
    assert re.search(r"4701 +llama-pretrain-70b +jonas +16 +8.1 kW +85.1% +3.10  capped at 310 W", line)


def test_names_that_are_ids_and_owners_that_nobody_knows_take_no_room(document: DocumentOf) -> None:
    bare = tuple(replace(job, name=job.id, owner="") for job in document().jobs)
    titles = Table(seen_of(replace(document(), jobs=bare)), "name", 80).titles()
    assert titles.plain.split() == ["job", "GPUs", "watts", "speed", "USD/h"]


async def once(view: SiteView | None, *words: str) -> Result:
    shown = Page()
    if view is not None:
        shown.publish(view)
    async with serving(shown, port=0) as address:
        return await asyncio.to_thread(CliRunner().invoke, top, ["--once", "--url", address, *words])


async def test_one_frame_in_a_pipe_has_every_job_and_no_control_codes(document: DocumentOf) -> None:
    row = replace(document().jobs[0], name=HOSTILE)
    result = await once(replace(document(), jobs=(row, *document().jobs[1:])), "--sort", "name")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert "\x07" not in result.output
    assert result.output.startswith("Hall 3, Phoenix  within  The event of 10:50 is met")
    assert "limit 142 kW  draw " in result.output
    assert "battery 75% full, gives 6.0 kW. Discharging through the event." in result.output
    assert "jobs 35 running, 1 capped, 1 downsized, 1 paused, 1 held" in result.output
    assert all(f"eval-{n} " in result.output for n in range(7, 40))
    assert "event: demand response: 25 % less for 30 minutes" in result.output.lower()


async def test_shadow_mode_and_numbers_that_are_not_known_are_said(document: DocumentOf) -> None:
    blind = replace(document(), mode="Shadow", state="blind", draw_w=None, headroom_w=None)
    result = await once(blind)
    assert "blind  shadow: nothing is done" in result.output
    assert "draw not known  headroom not known" in result.output


async def test_a_page_that_has_nothing_to_show_yet_is_told_with_exit_code_2() -> None:
    result = await once(None)
    assert result.exit_code == 2
    assert "has nothing decided yet: it only just began, or another controller leads" in result.output


def test_a_page_that_cannot_be_reached_is_told_with_exit_code_2() -> None:
    result = CliRunner().invoke(top, ["--once", "--url", "http://127.0.0.1:9"])
    assert result.exit_code == 2
    assert result.output == "http://127.0.0.1:9 cannot be reached: Connection refused; name another page with --url\n"


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://", "http://host:port", "http://[::1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    result = CliRunner().invoke(top, ["--once", "--url", url])
    assert result.exit_code == 2
    assert "is no address of a page; write http://HOST:PORT" in result.output


async def test_following_carries_the_past_on_and_outlives_the_page(document: DocumentOf) -> None:
    shown = Page()
    shown.publish(document())
    async with serving(shown, port=0) as address:
        news = Live(address).follow()
        first, second = await asyncio.to_thread(lambda: list(islice(news, 2)))
        shown.publish(document(1.0, "shedding"))
        third = await asyncio.to_thread(next, news)
    assert isinstance(first, Seen)
    assert isinstance(second, Seen)
    assert isinstance(third, Seen)
    assert (third.state, len(third.history.t_s)) == ("shedding", 1801)
    assert third.history.t_s[-1] == first.history.t_s[-1] + 1.0
    ended = await asyncio.to_thread(next, news)
    assert isinstance(ended, Away)
    again = Page()
    again.publish(document(5.0))
    async with serving(again, port=int(address.rpartition(":")[2])):
        back = await asyncio.to_thread(lambda: next(seen for seen in news if isinstance(seen, Seen)))
    assert back.now_s == first.now_s + 5.0


async def test_what_is_no_page_is_said_to_be_none() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        told = await asyncio.to_thread(Live(address).view)
    assert told == Away(f"{address} answers, but not as the page of this version of Wattlease")


class Terminal:
    """`wattlease top` in a process of its own, on a terminal of its own."""

    def __init__(self, url: str, columns: int, lines: int) -> None:
        self.mine, theirs = pty.openpty()
        self.modes = termios.tcgetattr(theirs)
        self.theirs = theirs
        run = "from wattlease.runtime.top import top; top()"
        size = {"COLUMNS": str(columns), "LINES": str(lines), "TERM": "xterm-256color", "PYTHONUTF8": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", run, "--url", url],
            stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **size}, start_new_session=True,
        )  # fmt: skip
        self.heard = ""

    def until(self, text: str, patience_s: float = 60.0) -> None:
        end_s = time.monotonic() + patience_s
        while text not in self.heard:
            assert time.monotonic() < end_s, f"{text!r} never came: {self.heard[-2000:]!r}"
            if select.select([self.mine], [], [], 0.2)[0]:
                self.heard += os.read(self.mine, 65536).decode(errors="replace")

    def press(self, key: str) -> None:
        self.heard = ""
        os.write(self.mine, key.encode())

    def ended(self) -> int:
        """Its exit code; what it still writes is read, as a terminal would."""
        end_s = time.monotonic() + 60.0
        while self.process.poll() is None:
            assert time.monotonic() < end_s, "it never ended"
            if select.select([self.mine], [], [], 0.1)[0]:
                self.heard += os.read(self.mine, 65536).decode(errors="replace")
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.mine)
        os.close(self.theirs)


async def test_on_a_terminal_it_follows_the_page_until_q_and_leaves_the_terminal_as_it_was(
    document: DocumentOf,
) -> None:
    shown = Page()
    shown.publish(document())
    async with serving(shown, port=0) as address:
        terminal = Terminal(address, 80, 24)
        try:
            await asyncio.to_thread(terminal.until, "lines below")
            shown.publish(document(2.0, "over"))
            await asyncio.to_thread(terminal.until, "over")
            terminal.press("n")
            await asyncio.to_thread(terminal.until, "chat-frontend")
            terminal.press("q")
            assert await asyncio.to_thread(terminal.ended) == 0
            assert "\x1b[?1049l" in terminal.heard  # back from the second screen
            assert termios.tcgetattr(terminal.theirs) == terminal.modes
            assert "Traceback" not in terminal.heard
        finally:
            terminal.close()


async def test_a_page_that_is_not_there_is_said_and_waited_for(document: DocumentOf) -> None:
    shown = Page()
    shown.publish(document())
    async with serving(shown, port=0) as address:
        pass  # its port is free again
    terminal = Terminal(address, 100, 30)
    try:
        await asyncio.to_thread(terminal.until, "cannot be reached: Connection refused; trying again")
        async with serving(shown, port=int(address.rpartition(":")[2])):
            await asyncio.to_thread(terminal.until, "Hall 3, Phoenix")
            terminal.process.send_signal(signal.SIGINT)  # as Ctrl-C does
            assert await asyncio.to_thread(terminal.ended) == 0
            assert termios.tcgetattr(terminal.theirs) == terminal.modes
    finally:
        terminal.close()
