"""Real commands that hang, refuse, flood or are not there: each is over within its bound, and is a value."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wattlease_slurm.backends import backend_of
from wattlease_slurm.cli_backend import CliBackend
from wattlease_slurm.cli_run import AT_ONCE, Commands, Kind, environment
from wattlease_slurm.cli_said import sentence_of, why
from wattlease_slurm.pace import Pace
from wattlease_slurm.pyslurm_backend import load_pyslurm
from wattlease_slurm.settings import Slurm
from wattlease_slurm.words import Trouble, Why

Write = Callable[[str, str], Path]

HANG_S = 60.0
"""How long what hangs here would sleep: far more than a busy machine adds to anything."""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a program and gives the folder it lies in."""

    def written(name: str, script: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
        return tmp_path

    return written


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def test_a_hanging_command_is_killed_with_all_it_started_within_its_patience(write: Write) -> None:
    folder = write("squeue", 'sleep 60 & echo $! >"${0%/*}/child"; trap "" TERM; wait')
    begun_s = time.monotonic()
    said = await Commands(folder, patience_s=2.0).run(Kind.READ, "squeue", "-h")
    assert time.monotonic() - begun_s < HANG_S / 2
    assert said == Trouble("squeue -h", Why.UNANSWERED, "no answer within 2 s")
    child = int((folder / "child").read_text())
    for _ in range(100):
        if not alive(child):
            break
        await asyncio.sleep(0.01)
    assert not alive(child)


async def test_what_a_command_left_behind_holding_its_output_is_not_waited_for(write: Write) -> None:
    folder = write("squeue", 'setsid sleep 60 & echo $! >"${0%/*}/child"; echo done')
    begun_s = time.monotonic()
    try:
        assert await Commands(folder).run(Kind.READ, "squeue") == "done\n"
        assert time.monotonic() - begun_s < HANG_S / 2
    finally:
        os.kill(int((folder / "child").read_text()), signal.SIGKILL)


async def test_a_cancelled_call_leaves_no_process(write: Write) -> None:
    folder = write("scontrol", 'echo $$ >"${0%/*}/pid"; exec sleep 60')
    call = asyncio.create_task(Commands(folder).run(Kind.READ, "scontrol"))
    while not (folder / "pid").exists() or not (folder / "pid").read_text():
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not alive(int((folder / "pid").read_text()))


async def test_a_refusal_is_slurms_own_sentence(write: Write) -> None:
    folder = write("scontrol", 'echo "slurm_update error: Invalid license specification" >&2; exit 1')
    said = await CliBackend(Commands(folder)).hold_watts("hold", "power", 5)
    assert said is not None
    assert (said.why, said.text) == (Why.REFUSED, "slurm_update error: Invalid license specification")
    assert str(said).startswith("scontrol update ReservationName=hold Licenses=power:5")


async def test_a_command_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    said = await CliBackend(Commands(tmp_path)).queue()
    assert isinstance(said, Trouble)
    assert (said.why, said.text) == (Why.MISSING, f"there is no squeue in {tmp_path}")


async def test_an_answer_that_is_none_is_unreadable(write: Write) -> None:
    said = await CliBackend(Commands(write("squeue", "echo hello"))).queue()
    assert isinstance(said, Trouble)
    assert said.why is Why.UNREADABLE


async def test_megabytes_and_broken_letters_come_through(write: Write) -> None:
    folder = write("squeue", "head -c 3000000 /dev/zero | tr '\\0' x; printf '\\xff'")
    said = await Commands(folder).run(Kind.READ, "squeue")
    assert isinstance(said, str)
    assert len(said) == 3_000_001
    assert said.endswith("\N{REPLACEMENT CHARACTER}")


async def test_few_run_at_once_and_who_waits_too_long_has_not_begun(write: Write) -> None:
    folder = write("scontrol", 'echo begun >>"${0%/*}/log"; exec sleep 60')
    commands = Commands(folder, patience_s=4.0)
    begun_s = time.monotonic()
    said = await asyncio.gather(*(commands.run(Kind.READ, "scontrol") for _ in range(AT_ONCE + 3)))
    assert time.monotonic() - begun_s < HANG_S / 2
    whys = [trouble.why for trouble in said if isinstance(trouble, Trouble)]
    assert (whys.count(Why.UNANSWERED), whys.count(Why.NOT_BEGUN)) == (AT_ONCE, 3)
    assert (folder / "log").read_text().count("begun") == AT_ONCE


async def test_remarks_wait_and_acts_pass_them_by(write: Write) -> None:
    folder = write("scontrol", 'echo "$2" >>"${0%/*}/log"')
    backend = CliBackend(Commands(folder, remarks_per_s=1.0))
    remarks = [asyncio.create_task(backend.set_admin_comment(str(job), "why")) for job in range(6)]
    await asyncio.wait(remarks, return_when=asyncio.FIRST_COMPLETED)
    assert await backend.suspend("7") is None
    assert not all(remark.done() for remark in remarks)
    assert await asyncio.gather(*remarks) == [None] * 6
    assert (folder / "log").read_text().split().index("7") < 6


async def test_a_pace_lets_a_burst_through_and_then_so_many_a_second() -> None:
    pace, begun_s = Pace(per_s=1.0, burst=5), time.monotonic()
    for _ in range(5):
        await pace.turn()
    burst_s = time.monotonic() - begun_s
    for _ in range(2):
        await pace.turn()
    assert burst_s < 1.0
    assert time.monotonic() - begun_s >= 1.99


async def test_what_is_no_job_never_becomes_an_option(write: Write) -> None:
    folder = write("scancel", 'touch "${0%/*}/ran"')
    backend = CliBackend(Commands(folder))
    for job in ("--user=ann", "1 2", "", "1;rm", "1_[", "x"):
        said = await backend.signal(job, "USR1")
        assert said is not None
        assert said.why is Why.UNKNOWN
    odd = await backend.signal("7", "--full")
    assert odd is not None
    assert odd.why is Why.REFUSED
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("Invalid job id specified for job 99", Why.UNKNOWN),
        ("Unexpected message received for job 99", Why.UNKNOWN),
        ("slurm_update error: Requested reservation is invalid", Why.UNKNOWN),
        ("scancel: error: Kill job error on job id 99: Invalid job id specified", Why.UNKNOWN),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", Why.UNANSWERED),
        ("slurm_load_jobs error: Socket timed out on send/recv operation", Why.UNANSWERED),
        ("scontrol: error: Couldn't create Munge credential: Failed to access socket", Why.UNANSWERED),
        ("Access/permission denied for job 7", Why.NOT_PERMITTED),
        ("Job is not pending nor running for job 1", Why.REFUSED),
        ("", Why.REFUSED),
    ],
)
def test_a_sentence_says_what_to_make_of_it(sentence: str, reason: Why) -> None:
    assert why(sentence) is reason


def test_a_command_that_failed_without_a_word_still_says_something() -> None:
    assert sentence_of("", "\n", 3) == "ended with 3 and said nothing"
    assert sentence_of("first\nlast \n\n", "output", 1) == "last"


def test_nobodys_variables_change_what_the_commands_print() -> None:
    outside = {
        "SQUEUE_FORMAT": "%i",
        "SLURM_CLUSTERS": "b",
        "SLURM_CONF": "/etc/s.conf",
        "SCONTROL_ALL": "1",
        "TZ": "UTC",
    }
    seen = environment(outside)
    assert seen == {
        "SLURM_CONF": "/etc/s.conf", "TZ": "UTC",
        "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0", "LC_ALL": "C.UTF-8",
    }  # fmt: skip


@pytest.mark.skipif(not isinstance(load_pyslurm(), Trouble), reason="pyslurm is installed here")
async def test_without_pyslurm_auto_takes_the_commands_and_pyslurm_says_how_to_get_it(write: Write) -> None:
    folder = str(write("scontrol", "echo slurm 24.11.5"))
    assert type(await backend_of(Slurm(backend="Auto", bin_folder=folder))) is CliBackend
    wanted = await backend_of(Slurm(backend="Pyslurm", bin_folder=folder))
    assert isinstance(wanted, Trouble)
    assert wanted.why is Why.MISSING
    assert "install pyslurm" in wanted.text
