"""What an agent costs its node: a real `wattlease agent` on NVML's real binding, with eight cards and a real grantor.

    bench_agent.py [--seconds 30] [--cards 8]

The agent is a process of its own; the library behind the binding is the tests' own, built here, so the time of a real
driver's calls is not in the figures. Printed: the processor time of the start, the share of a core over the seconds
after it, and the memory, each beside what is aimed at.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

from wattlease.agent.virtual_state import VirtualState, virtual_cards
from wattlease.core.lease import Member, Refused, Target
from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.lease.grantor import Grantor
from wattlease.runtime.lease.identity_secret import SharedSecret
from wattlease.runtime.lease.leadership import Term
from wattlease.runtime.lease.members import Membership
from wattlease.runtime.lease.service import LeaseService, serving
from wattlease.runtime.lease.store import StateFolder
from wattlease.runtime.lease.terms import GrantTerms

BUILD = Path(__file__).parents[1] / "agent" / "nvml" / "build.py"
SECRET = b"for this benchmark only"
CARD_W, FLOOR_W = 450.0, 200.0
SHARE_AIM, START_AIM_S, MEMORY_AIM_MB = 0.005, 1.0, 60.0
PLAN_S, SETTLE_S = 1.0, 3.0


def cpu_s(pid: int) -> float:
    """User and system time of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, kind: str) -> float:
    """`VmRSS` of now or `VmHWM`, its most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024


def started(folder: Path, address: str) -> subprocess.Popen[bytes]:
    """The agent, as its unit starts it, beside the built library."""
    (folder / "secret").write_bytes(SECRET)
    settings = {
        "node": "n1", "grantors": [address], "secretFile": str(folder / "secret"), "stateFolder": str(folder / "state"),
        "hintsFolder": str(folder / "hints"), "listen": "127.0.0.1:0",
    }  # fmt: skip
    (folder / "agent.yaml").write_text(json.dumps(settings))
    library = runpy.run_path(str(BUILD))["build"](folder).parent
    environ = {**os.environ, "LD_LIBRARY_PATH": str(library), "WATTLEASE_VIRTUAL_GPUS": str(folder / "gpus")}
    command = [str(Path(sys.executable).with_name("wattlease")), "agent", "--config", str(folder / "agent.yaml")]
    with open(folder / "log", "wb") as log:
        return subprocess.Popen(command, env=environ, stderr=log)


async def measure(folder: Path, seconds: float, cards: int) -> None:
    state = VirtualState.create(folder / "gpus", virtual_cards("n1", "H100", cards))
    grant_w = cards * CARD_W
    member = Member(name="n1", fallback_w=cards * FLOOR_W, nameplate_w=cards * 700.0)
    (folder / "grantor").mkdir()
    terms = GrantTerms(guaranteed_w=2 * grant_w, ttl_s=10.0, plan_lasts_s=60.0)
    grantor = Grantor(terms, Membership([member]), StateFolder(folder / "grantor"))
    await grantor.begin(Term(1, steady_s() + 1e6))
    secret = SharedSecret(SECRET)
    async with serving(LeaseService(grantor, secret), secret, "127.0.0.1", 0) as address:
        agent = started(folder, address)
        try:
            planning = asyncio.create_task(plan(grantor, {"n1": Target(grant_w, (CARD_W,) * cards)}, 2 * grant_w))
            while abs(float(state.cards["limit_mw"].sum()) / 1e3 - grant_w) > cards:
                if agent.poll() is not None:
                    sys.exit((folder / "log").read_text())
                await asyncio.sleep(0.05)
            start_s = cpu_s(agent.pid)
            await asyncio.sleep(SETTLE_S)
            before_s, began_s, heard = cpu_s(agent.pid), steady_s(), grantor.renewals
            await asyncio.sleep(seconds)
            share = (cpu_s(agent.pid) - before_s) / (steady_s() - began_s)
            print(f"start to grant {start_s:.2f} s of processor time (aim under {START_AIM_S:g})")
            print(f"share of a core {share:.2%} with {cards} cards (aim under {SHARE_AIM:.1%})")
            rss_mb, most_mb = memory_mb(agent.pid, "VmRSS"), memory_mb(agent.pid, "VmHWM")
            print(f"memory {rss_mb:.0f} MB, at most {most_mb:.0f} MB (aim under {MEMORY_AIM_MB:g})")
            print(f"renewals {(grantor.renewals - heard) / seconds:.2f} a second")
            planning.cancel()
        finally:
            agent.terminate()
            agent.wait()


async def plan(grantor: Grantor, targets: dict[str, Target], limit_w: float) -> None:
    """Plan every second, as a controller does."""
    while True:
        refused = grantor.plan(targets, limit_w)
        if isinstance(refused, Refused):
            sys.exit(refused.reason)
        await asyncio.sleep(PLAN_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--cards", type=int, default=8)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), told.seconds, told.cards))


if __name__ == "__main__":
    main()
