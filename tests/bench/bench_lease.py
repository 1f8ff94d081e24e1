"""One grantor on one core: many nodes of eight cards that renew every second over HTTP on loopback.

    bench_lease.py [--nodes 2500] [--seconds 8] [--cuts 4] [--only plain|tls]

The grantor is a process of its own, as at a site; this one plays the nodes. Printed: the ledger's own time for one tick
of all nodes, the share of the grantor's core, and how long a cut of the limit takes to reach every node. Two cores at
least, else the nodes take the grantor's.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import resource
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from wattlease.core.lease import Answer, Holder, Ledger, Listed, Member, Roster, Target, allowed_w, ask, hear
from wattlease.runtime import pki
from wattlease.runtime.garbage import collect_rarely
from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.lease.grantor import Grantor
from wattlease.runtime.lease.identity_secret import SharedSecret
from wattlease.runtime.lease.leadership import Term
from wattlease.runtime.lease.members import Membership
from wattlease.runtime.lease.report import CardReport, NodeReport, Reply, Share
from wattlease.runtime.lease.service import LeaseService, serving
from wattlease.runtime.lease.store import StateFolder
from wattlease.runtime.lease.terms import GrantTerms
from wattlease.runtime.lease.tls import ServerTls, TlsFiles

FALLBACK_W, NAMEPLATE_W, FULL_W, CUT_W = 1600.0, 5600.0, 5000.0, 3000.0
SECRET = b"for this benchmark only"
PERIOD_S = 1.0


def members_of(nodes: int) -> list[Member]:
    return [Member(name=f"n{i}", fallback_w=FALLBACK_W, nameplate_w=NAMEPLATE_W) for i in range(nodes)]


def targets_of(nodes: int, watts_w: float) -> dict[str, Target]:
    return {f"n{i}": Target(watts_w, (watts_w / 8,) * 8) for i in range(nodes)}


# The grantor's process


def grant(pipe: Connection, nodes: int, folder: str, tls_files: TlsFiles | None) -> None:
    raise_file_limit()
    collect_rarely()
    asyncio.run(Grants(pipe, nodes, Path(folder)).run(tls_files))


class Grants:
    """The grantor under test, told through a pipe when to cut and when to count."""

    def __init__(self, pipe: Connection, nodes: int, folder: Path) -> None:
        self.pipe, self.nodes, self.watts_w = pipe, nodes, FULL_W
        terms = GrantTerms(guaranteed_w=nodes * FALLBACK_W)
        self.grantor = Grantor(terms, Membership(members_of(nodes)), StateFolder(folder))
        self.plan_s: list[float] = []

    async def run(self, tls_files: TlsFiles | None) -> None:
        await self.grantor.begin(Term(1, float("inf")))
        identity = SharedSecret(SECRET)
        tls = ServerTls(tls_files) if tls_files else None
        async with serving(LeaseService(self.grantor, identity), identity, "127.0.0.1", 0, tls) as address:
            self.plan()
            self.pipe.send(address)
            ticking = asyncio.create_task(self.tick())
            loop = asyncio.get_running_loop()
            while (word := await loop.run_in_executor(None, self.pipe.recv)) != "end":
                self.pipe.send(self.obey(word))
            ticking.cancel()

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            self.plan()

    def plan(self) -> None:
        began_s = time.perf_counter()
        self.grantor.plan(targets_of(self.nodes, self.watts_w), self.nodes * self.watts_w)
        self.plan_s.append(time.perf_counter() - began_s)

    def obey(self, word: Any) -> Any:
        if word == "count":
            return *os.times()[:2], steady_s(), self.grantor.renewals, len(self.plan_s)
        if word == "plans":
            return self.plan_s
        self.watts_w = word
        began_s = steady_s()
        self.plan()
        return began_s


# The nodes


@dataclass
class Node(asyncio.Protocol):
    """One node's connection: asks, obeys at once, and asks again as the real client does."""

    name: str
    report: bytes
    on_grant: Callable[[float, float], None]
    holder: Holder = field(init=False)
    asked_s: float = 0.0
    wait_s: float = 0.0
    rest: bytes = b""

    def __post_init__(self) -> None:
        self.holder = Holder(self.name, "bench", FALLBACK_W)
        head = (
            f"POST /v1/lease HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {SharedSecret(SECRET).token(self.name)}"
        )
        self.head = f"{head}\r\nContent-Type: application/json\r\nContent-Length: ".encode()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        asyncio.get_running_loop().call_later(random.uniform(0.0, PERIOD_S), self.ask)

    def ask(self) -> None:
        if self.transport.is_closing():
            return
        self.asked_s, self.wait_s = steady_s(), random.uniform(0.9, 1.1) * PERIOD_S
        self.holder, request = ask(self.holder, self.asked_s, allowed_w(self.holder, self.asked_s))
        body = b'{"request":%b,"report":%b,"wait_s":%f}' % (
            request.model_dump_json().encode(),
            self.report,
            self.wait_s,
        )
        self.transport.write(self.head + b"%d\r\n\r\n%b" % (len(body), body))

    def data_received(self, data: bytes) -> None:
        now_s = steady_s()
        head, _, body = (self.rest + data).partition(b"\r\n\r\n")
        size = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or -1)
        if size < 0 or len(body) < size:
            self.rest += data
            return
        self.rest = b""
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(body.decode())
        self.obey(Reply.model_validate_json(body), now_s)

    def obey(self, reply: Reply, now_s: float) -> None:
        before_w = allowed_w(self.holder, now_s)
        self.holder, refused = hear(self.holder, reply.answer)
        if refused:
            raise RuntimeError(refused.reason)
        allowed = allowed_w(self.holder, now_s)
        self.on_grant(allowed, now_s)
        left_s = 0.02 if allowed != before_w else max(0.0, self.asked_s + self.wait_s - now_s)
        asyncio.get_running_loop().call_later(left_s, self.ask)


class Nodes:
    """All nodes; for each cut, when each was told."""

    def __init__(self) -> None:
        self.told_s: dict[str, float] = {}
        self.allowed_w: dict[str, float] = {}

    def noter(self, name: str) -> Callable[[float, float], None]:
        def note(allowed_w: float, now_s: float) -> None:
            if self.allowed_w.get(name) != allowed_w:
                self.allowed_w[name] = allowed_w
                self.told_s[name] = now_s

        return note

    async def connect(self, address: str, nodes: int, context: ssl.SSLContext | None) -> list[asyncio.Transport]:
        port, report, loop = int(address.rpartition(":")[2]), report_json(), asyncio.get_running_loop()
        made = []
        for first in range(0, nodes, 100):
            opening = (
                loop.create_connection(
                    lambda name=f"n{i}": Node(name, report, self.noter(name)),
                    "127.0.0.1",
                    port,
                    ssl=context,
                    server_hostname="127.0.0.1" if context else None,
                )
                for i in range(first, min(first + 100, nodes))
            )
            made += [transport for transport, _ in await asyncio.gather(*opening)]
        return made

    async def all_at(self, nodes: int, watts_w: float, patience_s: float = 60.0) -> None:
        give_up_s = steady_s() + patience_s
        while sum(w == watts_w for w in self.allowed_w.values()) < nodes:
            if steady_s() > give_up_s:
                raise RuntimeError(f"after {patience_s:g} s some nodes are not at {watts_w:g} W")
            await asyncio.sleep(0.05)


def report_json() -> bytes:
    cards = tuple(
        CardReport(
            uuid=f"GPU-6e7a0d5c-2b1f-4c55-9d8e-00000000000{index}", index=index, model="NVIDIA H100 80GB HBM3",
            age_s=0.213, power_w=612.345, energy_j=123_456_789.125, limit_w=625.0, min_w=200.0, max_w=700.0, reasons=4,
            shares=(Share(job="4711", share_frac=1.0),),
        )
        for index in range(8)
    )  # fmt: skip
    return NodeReport(cards=cards, power_w=5890.5, power_source="redfish", overhead_w=900.0).model_dump_json().encode()


# The figures


def ledger_alone(nodes: int) -> str:
    """The ledger's time for one tick: a plan, and a renewal of every node."""
    listed = tuple(Listed(member=member, counted_w=FALLBACK_W) for member in members_of(nodes))
    ledger = Ledger.begin(1, Roster(ttl_s=10.0, listed=listed), 0.0, guaranteed_w=1e9, leads_until_s=1e9)
    holders = {member.name: Holder(member.name, "bench", FALLBACK_W) for member in members_of(nodes)}
    spent_s = []
    for now_s in range(8):
        took_s = -time.perf_counter()
        ledger.plan(targets_of(nodes, FULL_W - now_s), nodes * FULL_W, float(now_s))
        took_s += time.perf_counter()
        for name, holder in holders.items():
            asked, request = ask(holder, float(now_s), allowed_w(holder, float(now_s)))
            took_s -= time.perf_counter()
            answer = ledger.answer(request, float(now_s))
            took_s += time.perf_counter()
            assert isinstance(answer, Answer)
            holders[name], _ = hear(asked, answer)
        spent_s.append(took_s)
    return f"ledger alone: {1e3 * statistics.median(spent_s):.0f} ms a tick (one plan, {nodes} renewals)"


async def measure(pipe: Connection, nodes: int, seconds: float, cuts: int, context: ssl.SSLContext | None) -> list[str]:
    hall = Nodes()
    transports = await hall.connect(pipe.recv(), nodes, context)
    await hall.all_at(nodes, FULL_W)
    await asyncio.sleep(1.0)
    lines = [await steady_state(pipe, nodes, seconds)]
    worst_s, p99_s = [], []
    for _ in range(cuts):
        await asyncio.sleep(random.uniform(0.5, 1.5))
        cut_s = tell(pipe, CUT_W)
        await hall.all_at(nodes, CUT_W)
        spans_s = sorted(told_s - cut_s for told_s in hall.told_s.values())
        p99_s.append(spans_s[int(0.99 * (nodes - 1))])
        worst_s.append(spans_s[-1])
        tell(pipe, FULL_W)
        await hall.all_at(nodes, FULL_W)
    lines.append(
        f"a cut has reached 99 % of the nodes after {1e3 * statistics.median(p99_s):.0f} ms, "
        f"all after {1e3 * statistics.median(worst_s):.0f} ms (median of {cuts} cuts; "
        f"at worst {1e3 * max(p99_s):.0f} and {1e3 * max(worst_s):.0f} ms; aim: under 1000)"
    )
    for transport in transports:
        transport.close()
    await asyncio.sleep(2.0 * PERIOD_S)  # until the requests that wait have ended
    return lines


async def steady_state(pipe: Connection, nodes: int, seconds: float) -> str:
    *before, plans = tell(pipe, "count")
    own_s = time.process_time()
    await asyncio.sleep(seconds)
    *after, _ = tell(pipe, "count")
    own_s = time.process_time() - own_s
    user_s, kernel_s, span_s, renewals = (now - then for now, then in zip(after, before, strict=True))
    share_frac, rate_hz = (user_s + kernel_s) / span_s, renewals / span_s
    plan_ms = 1e3 * statistics.median(tell(pipe, "plans")[plans:])
    return (
        f"{nodes} nodes, {8 * nodes} GPUs: {rate_hz:.0f} renewals/s take {100 * share_frac:.0f} % of a core: "
        f"{1e6 * user_s / renewals:.0f} us each and {1e6 * kernel_s / renewals:.0f} us of the kernel's "
        f"(the nodes take {100 * own_s / span_s:.0f} % of another); plan and look for news {plan_ms:.0f} ms a tick"
    )


def tell(pipe: Connection, word: Any) -> Any:
    pipe.send(word)
    return pipe.recv()


def run(nodes: int, seconds: float, cuts: int, *, tls: bool) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        files, context = certificates(Path(folder)) if tls else (None, None)
        mine, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("spawn").Process(target=grant, args=(theirs, nodes, folder, files))
        child.start()
        try:
            return asyncio.run(measure(mine, nodes, seconds, cuts, context))
        finally:
            mine.send("end")
            child.join(20)


def certificates(folder: Path) -> tuple[TlsFiles, ssl.SSLContext]:
    pki.found(folder / "pki")
    issued = pki.issue_grantor(folder / "pki", "bench", 1, ["127.0.0.1"])
    trust = TlsFiles(folder / "pki" / "ca.crt").client_context()
    return TlsFiles(None, issued.certificate, issued.key), trust


def raise_file_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=2500)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--cuts", type=int, default=4)
    parser.add_argument("--only", choices=("plain", "tls"))
    chosen = parser.parse_args()
    raise_file_limit()
    collect_rarely()
    print(ledger_alone(chosen.nodes), flush=True)
    for kind in ("plain", "tls"):
        if chosen.only in (None, kind):
            for line in run(chosen.nodes, chosen.seconds, chosen.cuts, tls=kind == "tls"):
                print(f"{kind}: {line}", flush=True)


if __name__ == "__main__":
    main()
