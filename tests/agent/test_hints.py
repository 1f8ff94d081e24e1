"""Hints in real files: the agent's side and the job's side, against each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.agent.cards import Trouble
from wattlease.agent.hints import HintFolder
from wattlease.agent.hints_folder import folder_of
from wattlease.agent.hints_said import Said
from wattlease.runtime.lease.report import Hint
from wattlease_hints import GO_ON, Job


class Clock:
    """Seconds that a test turns on, for both sides."""

    def __init__(self) -> None:
        self.now_s = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def agent(tmp_path: Path, clock: Clock) -> HintFolder:
    return HintFolder(tmp_path / "hints", shared=True, clock=clock)


@pytest.fixture
def job(tmp_path: Path, clock: Clock) -> Job:
    return Job(str(tmp_path / "hints/7"), clock)


def said(found: Said | Trouble | None) -> Said:
    assert isinstance(found, Said), found
    return found


def text(found: object) -> str:
    assert isinstance(found, Trouble), found
    return found.text


fracs = st.floats(0.0, 1.0, exclude_min=True)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
hints = st.builds(
    Hint, job=st.just("7"), batch_frac=fracs, variant=words, checkpoint=st.booleans(), pause=st.booleans(),
    speed_frac=fracs, why=words,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(hint=hints)
def test_a_job_reads_what_the_agent_wrote(tmp_path_factory: pytest.TempPathFactory, hint: Hint) -> None:
    root = tmp_path_factory.mktemp("hints")
    assert HintFolder(root).write([hint]) == ()
    read = Job(str(root / "7")).read()
    assert (read.batch_frac, read.should_checkpoint, read.should_pause, read.variant, read.speed_frac, read.why) == (
        hint.batch_frac, hint.checkpoint, hint.pause, hint.variant, hint.speed_frac, hint.why,
    )  # fmt: skip
    assert read.fresh
    assert 0.0 <= read.age_s < 10.0


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20) | st.lists(st.sampled_from(["..", ".", "a", "", "-", "\0"]), max_size=4).map("/".join))
def test_no_name_of_a_job_leads_out_of_its_place(name: str) -> None:
    root = Path("/run/wattlease/hints")
    folder = folder_of(root, name)
    if not isinstance(folder, Trouble):
        assert Path(os.path.normpath(folder)) == folder
        assert folder.parent == root or folder.parent.parent == root


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.recursive(st.none() | st.floats() | st.text(max_size=5), st.lists).map(
    lambda data: json.dumps({"schema": 1, "sequence": data, "batch_frac": data, "written_s": data}).encode()
))  # fmt: skip
def test_whatever_a_file_holds_a_job_goes_on(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("job")
    (folder / "hint.json").write_bytes(data)
    assert Job(str(folder)).read() == GO_ON


def test_a_job_without_a_hint_goes_on(tmp_path: Path) -> None:
    job = Job(str(tmp_path / "none"))
    assert job.read() == GO_ON
    assert not job.report(speed=1.0)


def test_a_hint_that_has_run_out_asks_for_nothing_and_changes_nothing(
    agent: HintFolder, job: Job, clock: Clock
) -> None:
    agent.write([Hint(job="7", batch_frac=0.5, variant="small", checkpoint=True, pause=True)])
    assert job.read().should_pause
    clock.now_s += 31.0
    read = job.read()
    assert (read.batch_frac, read.variant, read.should_checkpoint, read.should_pause) == (0.5, "small", False, False)
    assert not read.fresh
    clock.now_s -= 100.0  # a clock that was set back
    assert not job.read().fresh


def test_an_agent_that_lives_keeps_its_hints_true_without_changing_their_number(
    agent: HintFolder, job: Job, clock: Clock
) -> None:
    hint = Hint(job="7", batch_frac=0.5)
    numbers = set()
    for _ in range(120):
        agent.write([hint])
        read = job.read()
        assert read.fresh
        assert read.age_s < 11.0
        numbers.add(read.sequence)
        clock.now_s += 1.0
    assert len(numbers) == 1


def test_numbers_rise_with_each_new_wish_also_after_the_agent_was_started_anew(
    tmp_path: Path, job: Job, clock: Clock
) -> None:
    numbers = []
    for life in range(3):
        agent = HintFolder(tmp_path / "hints", clock=clock)
        for step in range(5):
            agent.write([Hint(job="7", batch_frac=1.0 - 0.1 * step - 0.01 * life)])
            numbers.append(job.read().sequence)
            clock.now_s += 1.1
    assert numbers == sorted(set(numbers))


def test_a_checkpoint_is_asked_for_once_until_it_is_asked_for_again(agent: HintFolder, job: Job) -> None:
    agent.write([Hint(job="7", checkpoint=True)])
    assert job.read().should_checkpoint
    assert job.report(checkpointed=True)
    assert not job.read().should_checkpoint
    agent.write([Hint(job="7", checkpoint=True, batch_frac=0.5)])  # another wish, the same request
    read = job.read()
    assert (read.should_checkpoint, read.batch_frac) == (False, 0.5)
    agent.write([Hint(job="7")])
    assert not job.read().should_checkpoint
    agent.write([Hint(job="7", checkpoint=True)])
    assert job.read().should_checkpoint


def test_what_a_job_says_comes_to_the_agent(agent: HintFolder, job: Job, clock: Clock) -> None:
    assert agent.said("7") is None
    agent.write([Hint(job="7")])
    assert agent.said("7") is None
    sequence = job.read().sequence
    assert job.report(speed=200.0, batch=64)
    assert said(agent.said("7")) == Said(0.0, 200.0, 1.0, 64, None, sequence)
    clock.now_s += 5.0
    assert job.report(speed=150.0, checkpointed=True)
    clock.now_s += 2.0
    assert said(agent.said("7")) == Said(2.0, 150.0, 0.75, 64, 2.0, sequence)


def test_a_loop_may_report_every_step(agent: HintFolder, job: Job, clock: Clock) -> None:
    agent.write([Hint(job="7")])
    assert job.report(speed=1.0)
    clock.now_s += 0.5
    assert job.report(speed=2.0)
    assert said(agent.said("7")).speed == 1.0
    clock.now_s += 0.6
    assert job.report(batch=3)
    assert (said(agent.said("7")).speed, said(agent.said("7")).batch) == (2.0, 3)


BAD = [
    '{"schema": 1, "written_s": NaN}',
    '{"schema": 1, "written_s": 1e999}',
    '{"schema": 1, "written_s": -1}',
    '{"schema": 2, "written_s": 1}',
    '{"schema": 1, "written_s": "1"}',
    '{"schema": 1, "written_s": 1, "speed": -1}',
    '{"schema": 1, "written_s": 1, "speed": true}',
    '{"schema": 1, "written_s": 1, "batch": 1.5}',
    "[]",
    "",
    '{"schema": 1',
    "[" * 4000,
    "x" * 5000,
]


@pytest.mark.parametrize("told", BAD, ids=range(len(BAD)))
def test_what_cannot_be_true_is_not_believed(agent: HintFolder, tmp_path: Path, told: str) -> None:
    agent.write([Hint(job="7")])
    (tmp_path / "hints/7/.said/state.json").write_text(told)
    assert "state.json" in text(agent.said("7"))


def test_a_checkpoint_in_the_future_is_not_believed(agent: HintFolder, tmp_path: Path, clock: Clock) -> None:
    agent.write([Hint(job="7")])
    state = {"schema": 1, "written_s": clock.now_s, "checkpoint_s": clock.now_s + 3600.0, "speed": 2}
    (tmp_path / "hints/7/.said/state.json").write_text(json.dumps(state))
    found = said(agent.said("7"))
    assert (found.checkpoint_age_s, found.speed) == (None, 2.0)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "linked folder"])
def test_neither_links_nor_pipes_nor_folders_fool_the_agent(agent: HintFolder, tmp_path: Path, kind: str) -> None:
    agent.write([Hint(job="7")])
    state, secret = tmp_path / "hints/7/.said/state.json", tmp_path / "secret"
    secret.mkdir(mode=0o700)
    (secret / "state.json").write_text('{"schema": 1, "written_s": 1}')
    match kind:
        case "link":
            state.symlink_to(secret / "state.json")
        case "pipe":
            os.mkfifo(state)
        case "folder":
            state.mkdir()
        case _:
            state.parent.rmdir()
            state.parent.symlink_to(secret)
    found = agent.said("7")
    assert isinstance(found, Trouble)
    if kind == "linked folder":
        (troubled,) = agent.write([Hint(job="7", batch_frac=0.5)])
        assert "goes on as it is" in troubled.text
    assert secret.stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_hints_place_is_replaced_and_not_followed(agent: HintFolder, job: Job, tmp_path: Path) -> None:
    agent.write([Hint(job="7")])
    (tmp_path / "passwd").write_text("root")
    for name in ("hint.json", f".hint.json.{os.getpid()}"):
        (tmp_path / "hints/7" / name).unlink(missing_ok=True)
        (tmp_path / "hints/7" / name).symlink_to(tmp_path / "passwd")
    agent.write([Hint(job="7", batch_frac=0.5)])
    assert (tmp_path / "passwd").read_text() == "root"
    assert job.read().batch_frac == 0.5


def test_folders_of_jobs_that_are_gone_are_removed_and_no_others(
    agent: HintFolder, tmp_path: Path, clock: Clock
) -> None:
    agent.write([Hint(job="7"), Hint(job="ml/a"), Hint(job="ml/b")])
    (tmp_path / "hints/ml/new").mkdir()  # the kubelet's, for a pod that has no hint yet
    (tmp_path / "hints/7/.said/deep/deeper").mkdir(parents=True)
    (tmp_path / "hints/7/.said/hint.json").write_text("{}")
    assert agent.keep(["ml/a"]) == ()
    clock.now_s += 60.0
    assert agent.keep(["ml/a", "7"]) == ()
    clock.now_s += 70.0
    assert agent.keep(["ml/a"]) == ("ml/b",)
    clock.now_s += 120.0
    assert agent.keep(["ml/a"]) == ("7",)
    assert sorted(path.name for path in (tmp_path / "hints/ml").iterdir()) == ["a", "new"]
    assert not (tmp_path / "hints/7").exists()


def test_a_job_that_nests_folders_without_end_does_not_stop_the_agent(
    agent: HintFolder, tmp_path: Path, clock: Clock
) -> None:
    agent.write([Hint(job="7")])
    here = os.open(tmp_path / "hints/7/.said", os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    agent.keep([])
    clock.now_s += 121.0
    assert agent.keep([]) == ()
    assert agent.write([Hint(job="8")]) == ()
    subprocess.run(["rm", "-rf", str(tmp_path / "hints/7")], check=True)


@pytest.mark.parametrize("name", ["../7", "a/b/c", "/etc", "a/..", ".said", "a\nb", "a b", "7/"])
def test_a_name_that_is_none_is_refused_and_the_others_are_told(agent: HintFolder, tmp_path: Path, name: str) -> None:
    (trouble,) = agent.write([Hint(job=name), Hint(job="7")])
    assert "no job's name" in trouble.text
    assert isinstance(agent.said(name), Trouble)
    assert [path.name for path in (tmp_path / "hints").iterdir()] == ["7"]


def test_a_full_disk_is_told_and_the_old_hint_stays_whole(tmp_path: Path, clock: Clock) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", small], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        agent, job = HintFolder(small, clock=clock), Job(str(small / "7"), clock)
        assert agent.write([Hint(job="7", batch_frac=0.5)]) == ()
        with suppress(OSError), (small / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"x" * 4096):
                pass
        (trouble,) = agent.write([Hint(job="7", batch_frac=0.25)])
        assert "No space" in trouble.text
        assert job.read().batch_frac == 0.5
        (small / "filler").unlink()
        assert agent.write([Hint(job="7", batch_frac=0.25)]) == ()
        assert job.read().batch_frac == 0.25
    finally:
        subprocess.run(["umount", small], check=True)


LEAST = """
import ctypes, os, sys
from pathlib import Path
from wattlease.agent import hints
from wattlease.agent.hints_said import Said
from wattlease.runtime.lease.report import Hint
from wattlease_hints import Job

CHOWN = 1 << 0
root, now = Path(sys.argv[1]), [1e9]

def alone():  # root with CAP_CHOWN and no other capability, as the unit makes it
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)(CHOWN, CHOWN, 0, 0, 0, 0)
    assert ctypes.CDLL(None).capset(header, sets) == 0

def as_user(user, work):
    child = os.fork()
    if child == 0:
        os.setgroups([]); os.setgid(user); os.setuid(user); os.umask(0o077)
        os._exit(0 if work() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, work.__name__

def the_job():
    job = Job(str(root / "7"), lambda: now[0])
    half = job.read().batch_frac == 0.5 and job.report(speed=3.0, checkpointed=True)
    os.makedirs(root / "7/.said/own/deeper")
    return half

def a_stranger():
    job = Job(str(root / "7"), lambda: now[0])
    return not job.read().fresh and not job.report(speed=9.0) and not os.access(root, os.R_OK)

def nobody_changes_the_hint():
    try:
        os.unlink(root / "7/hint.json")
    except PermissionError:
        return True

root.chmod(0o711)
agent = hints.HintFolder(root, clock=lambda: now[0])
child = os.fork()
if child == 0:
    alone()
    assert agent.write([Hint(job="7", batch_frac=0.5)], {"7": 4321}) == ()
    agent_said = None
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
as_user(4321, the_job)
as_user(4322, a_stranger)
as_user(4321, nobody_changes_the_hint)
alone()
agent = hints.HintFolder(root, clock=lambda: now[0])
said = agent.said("7")
assert isinstance(said, Said) and said.speed == 3.0, said
now[0] += 10.0
assert agent.write([Hint(job="7", batch_frac=0.25)], {"7": 4321}) == ()
agent.keep([])
now[0] += 121.0
assert agent.keep([]) == ("7",)
assert not (root / "7").exists()
print("held")
"""


def test_an_agent_with_cap_chown_alone_serves_the_jobs_user_and_no_stranger() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    made = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
    try:
        done = subprocess.run([sys.executable, "-c", LEAST, made], capture_output=True, text=True, timeout=60)
        assert done.stdout == "held\n", done.stderr
    finally:
        subprocess.run(["rm", "-rf", made], check=True)
