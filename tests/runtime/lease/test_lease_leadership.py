"""One of several grantors on one folder leads: by law, by example, and with disks that fail."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.lease import Listed, Member, Refused, Roster
from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.lease.folder_leadership import FolderLeadership
from wattlease.runtime.lease.leadership import Term, lead
from wattlease.runtime.lease.store import SLOT_BYTES, Record, StateFolder

TTL_S = 5.0


class Hand:
    """A clock that is moved by hand; it begins anywhere and drifts within the stated bound."""

    def __init__(self, from_s: float = 0.0, drift_frac: float = 0.0) -> None:
        self.now_s, self._pace = from_s, 1.0 + drift_frac

    def __call__(self) -> float:
        return self.now_s

    def pass_s(self, span_s: float) -> None:
        self.now_s += span_s * self._pace


class Daemon:
    """A process that may lead; a crashed one comes back under another name and has forgotten all."""

    def __init__(self, path: Path, name: str, clock: Hand) -> None:
        self.path, self.name, self.clock, self.lives = path, name, clock, 0
        self.restart()

    def restart(self) -> None:
        self.lives += 1
        self.term: Term | None = None
        self.leadership = FolderLeadership(StateFolder(self.path), f"{self.name}/{self.lives}", self.clock, TTL_S)

    def leads(self) -> bool:
        return self.term is not None and self.clock() < self.term.until_s

    def step(self) -> None:
        """What its loop would do next."""
        if self.term is None:
            stood = self.leadership.stand()
            self.term = stood if isinstance(stood, Term) else None
        elif not self.leads():
            self.term = None
        else:
            renewed = self.leadership.renew(self.term)
            self.term = renewed if isinstance(renewed, Term) else self.term

    def resign(self) -> None:
        if self.term:
            term, self.term = self.term, None
            self.leadership.resign(term)


spans_s = st.sampled_from([0.0, 0.1, 0.5, 2.0, 0.95 * TTL_S, 1.01 * TTL_S])  # just before the end and just after it
acts = st.sampled_from(["step", "step", "step", "step", "crash", "resign"])
moves = st.lists(st.tuples(acts, st.integers(0, 2), spans_s), min_size=10, max_size=40)


@settings(max_examples=150, deadline=None)
@given(moves=moves)
def test_at_most_one_leads_at_any_time_and_epochs_only_rise(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int, float]]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    clocks = (Hand(0.0), Hand(5e6, 4e-4), Hand(-300.0, -4e-4))
    daemons = [Daemon(folder, f"d{index}", clock) for index, clock in enumerate(clocks)]
    newest = 0
    for move, index, span_s in moves:
        daemon = daemons[index]
        {"step": daemon.step, "crash": daemon.restart, "resign": daemon.resign}[move]()
        if daemon.term:
            assert daemon.term.epoch >= newest
            newest = daemon.term.epoch
        assert sum(each.leads() for each in daemons) <= 1
        for clock in clocks:
            clock.pass_s(span_s)
        assert sum(each.leads() for each in daemons) <= 1


def test_a_successor_waits_a_whole_time_to_live_on_its_own_clock_unless_it_was_released(tmp_path: Path) -> None:
    clocks = Hand(100.0), Hand(9.0)
    first, second = (Daemon(tmp_path, f"d{index}", clock) for index, clock in enumerate(clocks))
    first.step()
    assert first.term == Term(1, 105.0)
    second.step()
    clocks[1].pass_s(TTL_S)
    second.step()
    assert second.term is None, "drift"
    clocks[1].pass_s(0.01)
    second.step()
    assert second.term == Term(2, clocks[1].now_s + TTL_S)
    second.resign()
    first.clock.pass_s(TTL_S)
    first.step()
    first.step()
    assert first.term == Term(3, first.clock.now_s + TTL_S)


def test_a_renewal_counts_from_before_it_was_written(tmp_path: Path) -> None:
    ticks = iter([0.0, 50.0, 51.0, 60.0])
    leadership = FolderLeadership(StateFolder(tmp_path), "d0", lambda: next(ticks), TTL_S)
    term = leadership.stand()
    assert term == Term(1, TTL_S)
    assert leadership.renew(term) == Term(1, 50.0 + TTL_S)


def test_a_torn_write_leaves_the_record_before_it(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    for writes in (6, 7):
        with folder.locked() as file:
            file.write(Record(epoch=3, holder="d0", ttl_s=TTL_S, writes=writes))
    data = bytearray((tmp_path / "leadership").read_bytes())
    data[SLOT_BYTES + 30 : SLOT_BYTES + 60] = bytes(30)
    (tmp_path / "leadership").write_bytes(data)
    with folder.locked() as file:
        newest = file.read()
    assert isinstance(newest, Record)
    assert (newest.epoch, newest.writes) == (3, 6)


def test_nobody_leads_by_a_record_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "leadership").write_bytes(b"neither slot is whole")
    refused = FolderLeadership(StateFolder(tmp_path), "d0", steady_s).stand()
    assert isinstance(refused, Refused)
    assert "restore it" in refused.reason


def test_a_folder_that_another_keeps_locked_is_trouble_and_not_a_hang(tmp_path: Path) -> None:
    with StateFolder(tmp_path).locked():
        refused = FolderLeadership(StateFolder(tmp_path), "d0", steady_s).stand()
    assert isinstance(refused, Refused)
    assert "locked" in refused.reason


def test_a_leader_that_was_paused_overwrites_no_later_ones_roster(tmp_path: Path) -> None:
    folder, clock = StateFolder(tmp_path), Hand()
    old, new = (FolderLeadership(folder, name, clock, TTL_S) for name in ("d0", "d1"))
    assert isinstance(old.stand(), Term)
    assert isinstance(new.stand(), Refused)
    clock.pass_s(TTL_S + 1.0)
    assert isinstance(new.stand(), Term)
    kept = Roster(
        ttl_s=10.0, listed=(Listed(member=Member(name="n1", fallback_w=1.0, nameplate_w=2.0), counted_w=1.0),)
    )
    assert folder.save(kept, epoch=2) is None
    assert isinstance(folder.save(Roster(ttl_s=10.0), epoch=1), Refused)
    assert folder.load(10.0) == kept


def test_a_roster_that_cannot_be_read_is_refused_and_none_is_empty(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    assert folder.load(3.0) == Roster(ttl_s=3.0)
    (tmp_path / "roster.json").write_text('{"ttl_s": -1, "listed": []}')
    refused = folder.load(3.0)
    assert isinstance(refused, Refused)
    assert "Roster.ttl_s" in refused.reason


async def test_a_leader_that_was_paused_and_wakes_answers_nothing(tmp_path: Path, hall_of: Any, node_of: Any) -> None:
    clocks = Hand(), Hand()
    halls = [hall_of(tmp_path, now=clock) for clock in clocks]
    leaders = [FolderLeadership(StateFolder(tmp_path), f"d{index}", clock, TTL_S) for index, clock in enumerate(clocks)]
    node = node_of("n1")
    first = leaders[0].stand()
    assert isinstance(first, Term)
    await halls[0].lead(first.epoch, TTL_S)
    halls[0].plan(n1=5000.0)
    node.hear(await halls[0].grantor.answer(node.renewal()))
    before = node.holder

    assert isinstance(leaders[1].stand(), Refused)
    for clock in clocks:
        clock.pass_s(TTL_S + 0.1)  # the first is paused all this time
    second = leaders[1].stand()
    assert isinstance(second, Term)
    await halls[1].lead(second.epoch, TTL_S)
    halls[1].plan(n1=2000.0)

    refused = await halls[0].grantor.answer(node.renewal())
    assert isinstance(refused, Refused)
    assert isinstance(leaders[0].renew(first), Refused)
    assert node.holder.grant == before.grant
    await node.settle(halls[1].grantor, 1)
    assert node.holder.epoch == 2


async def test_two_daemons_hand_over_when_one_stops(tmp_path: Path, hall_of: Any) -> None:
    halls = [hall_of(tmp_path) for _ in range(2)]
    tasks = [
        asyncio.create_task(
            lead(hall.grantor, FolderLeadership(StateFolder(tmp_path), f"d{index}", steady_s), steady_s)
        )
        for index, hall in enumerate(halls)
    ]
    leading = await _one_leads(halls)
    other = 1 - leading
    assert not halls[other].grantor.leads()
    tasks[leading].cancel()
    await asyncio.gather(tasks[leading], return_exceptions=True)
    assert await _one_leads(halls) == other
    assert halls[other].grantor.ledger.epoch == 2
    tasks[other].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _one_leads(halls: list[Any]) -> int:
    for _ in range(500):
        for index, hall in enumerate(halls):
            if hall.grantor.leads():
                return index
        await asyncio.sleep(0.01)
    raise AssertionError("nobody leads")


FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from wattlease.core.lease import Holder, Member, Refused, Target, allowed_w, ask, hear
from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.lease.folder_leadership import FolderLeadership
from wattlease.runtime.lease.grantor import Grantor
from wattlease.runtime.lease.members import Kind, Membership
from wattlease.runtime.lease.report import Renewal
from wattlease.runtime.lease.store import StateFolder
from wattlease.runtime.lease.terms import GrantTerms
import logging

logging.basicConfig(level=logging.ERROR, stream=sys.stdout, format="%(message)s")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = StateFolder(Path(sys.argv[1]))

async def settle(grantor, names):
    holders = {name: Holder(name, "first", 100.0) for name in names}
    for _ in range(4):
        for name, holder in holders.items():
            holder, request = ask(holder, steady_s(), allowed_w(holder, steady_s()))
            reply = await grantor.answer(Renewal(request=request))
            holders[name], refused = hear(holder, reply.answer)
            assert refused is None
    return {name: allowed_w(holder, steady_s()) for name, holder in holders.items()}

async def main():
    leadership = FolderLeadership(folder, "d0", steady_s)
    known = Member(name="known", fallback_w=100.0, nameplate_w=1000.0)
    grantor = Grantor(GrantTerms(guaranteed_w=500.0), Membership([known], [Kind("new-*", 100.0, 1000.0)]), folder)
    term = leadership.stand()
    assert await grantor.begin(term) is None
    while grantor.ledger.saved_revision < grantor.ledger.revision:
        await asyncio.sleep(0.01)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))  # from now on no file takes a byte
    wishes = {"known": Target(800.0), "new-1": Target(700.0)}
    grantor.plan(wishes, 3000.0)
    print(await settle(grantor, ["known", "new-1"]))
    grantor.plan(wishes, 3000.0)
    await asyncio.sleep(2.5)  # long enough for another try, which says nothing more
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    while grantor.ledger.saved_revision < grantor.ledger.revision:
        await asyncio.sleep(0.01)
    grantor.plan(wishes, 3000.0)
    print(grantor.ledger.offer_w("new-1", steady_s()))

asyncio.run(main())
"""


def test_on_a_full_disk_who_is_known_goes_on_and_who_is_new_waits_and_it_is_said_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.startswith("roster not saved: ")]) == 1
    told = [line for line in lines if not line.startswith("roster not saved: ")]
    assert told == ["{'known': 800.0, 'new-1': 100.0}", "700.0"]
