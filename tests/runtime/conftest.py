"""A document such as a site of 256 GPUs in the middle of a demand-response event would publish."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from wattlease.core.actions import Plan
from wattlease.core.memory import FRESH, Memory
from wattlease.core.model import Snapshot
from wattlease.runtime.record import Recorder
from wattlease.runtime.view import (
    EventRow,
    Figure,
    Forecast,
    History,
    JobRow,
    JobState,
    LimitRow,
    ScopeRow,
    Series,
    SiteState,
    SiteView,
    StorageRow,
)

Policy: TypeAlias = Callable[[Snapshot, Memory], tuple[Plan, Memory]]
DocumentOf: TypeAlias = Callable[..., SiteView]
START_S = 1_772_442_000.0
HOSTILE = "<img src=x onerror=document.title='owned'>"
KINDS = (("alpha", "Training"), ("alpha", "Inference"), ("beta", "Batch"), ("beta", "Overhead"))


@pytest.fixture(scope="session")
def record() -> Callable[..., Recorder]:
    """Writes what a policy decides on snapshots, one after the other, as a record of that path."""
    return _record


def _record(path: Path, snapshots: Iterable[Snapshot], policy: Policy, **settings: Any) -> Recorder:
    memory = FRESH
    with Recorder(path, **settings) as recorder:
        for snapshot in snapshots:
            plan, after = policy(snapshot, memory)
            recorder.write(snapshot, plan, memory)
            memory = after
    return recorder


@pytest.fixture(scope="session")
def document() -> DocumentOf:
    """The document a given time after its start, in a state, with or without a battery."""
    return _document


def _job(
    number: int, name: str, kind: str, state: JobState, draw_w: float, reason: str, *, protected: bool = False
) -> JobRow:
    full_w = max(draw_w, 5_600.0 * (number % 4 + 1))
    return JobRow(
        id=f"{4700 + number}",
        name=name,
        owner=("mira", "jonas", "ada", "platform")[number % 4],
        cluster=("alpha", "beta")[number % 2],
        kind=kind,
        state=state,
        gpus=8 * (number % 4 + 1),
        draw_w=draw_w,
        full_w=full_w,
        speed_frac=0.0 if draw_w == 0 else (draw_w / full_w) ** 0.5,
        cost_per_h=3.1 * (number % 5),
        protected=protected,
        reason=reason,
    )


def _jobs() -> tuple[JobRow, ...]:
    capped = "capped at 310 W a GPU: feed A is 1.9 kW over its limit, and this costs least (12.40 an hour)"
    held = "held: needs 22.4 kW, 2.1 kW left under feed A's 142 kW (demand-response event), 3 jobs ahead"
    named = [
        _job(1, "llama-pretrain-70b", "Training", "capped", 8_120.0, capped),
        _job(2, "chat-frontend", "Inference", "running", 14_900.0, "", protected=True),
        _job(3, "diffusion-sweep", "Generation", "paused", 0.0, "paused until 11:20: checkpoint of 10:41 is kept"),
        _job(4, "embeddings-nightly", "Batch", "downsized", 3_450.0, "runs with half its batch during the event"),
        _job(5, HOSTILE, "Interactive", "running", 9_800.0, ""),
        _job(6, "moe-finetune-with-a-very-long-name-that-somebody-really-chose", "Training", "held", 0.0, held),
    ]
    more = [_job(n, f"eval-{n}", "Batch", "running", 4_000.0 + 90.0 * n, "") for n in range(7, 40)]
    return (*named, *more)


def _history(now_s: float, *, storage: bool) -> History:
    t_s = [now_s - 1800.0 + second for second in range(1801)]
    limit_w = [185_000.0 if at < now_s - 600 else 142_000.0 for at in t_s]
    wave = [math.sin(at / 97.0) + 0.4 * math.sin(at / 13.0) for at in t_s]
    full_w = [0.93 * limit + 2_200.0 * w for limit, w in zip(limit_w, wave, strict=True)]
    shares = (0.45, 0.25, 0.2, 0.1)
    series = tuple(
        Series(f"{cluster} · {kind.lower()}", cluster, kind, [share * w for w in full_w])
        for (cluster, kind), share in zip(KINDS, shares, strict=True)
    )
    battery_w = [6_000.0 if at > now_s - 600 else 0.0 for at in t_s] if storage else []
    soc = [0.82 - max(0.0, at - now_s + 600) / 9_000 for at in t_s] if storage else []
    draw_w = [w - (battery_w[row] if storage else 0.0) for row, w in enumerate(full_w)]
    return History(t_s, limit_w, draw_w, series, battery_w, soc)


def _forecast(now_s: float) -> Forecast:
    ahead = range(60, 1801, 60)
    p50 = [128_000.0 + 3_000.0 * math.sin(second / 300.0) for second in ahead]
    spread = [1_500.0 + 3.0 * second for second in ahead]
    limit_w = [142_000.0 if second < 1200 else 142_000.0 + 75.0 * (second - 1200) for second in ahead]
    low = [w - s for w, s in zip(p50, spread, strict=True)]
    high = [w + s for w, s in zip(p50, spread, strict=True)]
    return Forecast([now_s + second for second in ahead], low, p50, high, limit_w)


def _document(after_s: float = 0.0, state: SiteState = "within", *, storage: bool = True) -> SiteView:
    now_s = START_S + after_s
    past = _history(now_s, storage=storage)
    draw_w = float(past.draw_w[-1])
    return SiteView(
        site="Hall 3, Phoenix",
        mode="Enforce",
        now_s=now_s,
        state=state,
        state_text="The event of 10:50 is met: 25 % less than before it, 5 jobs slowed, 1 paused.",
        limit_w=142_000.0,
        draw_w=draw_w,
        headroom_w=142_000.0 - draw_w,
        binding="Demand-response event until 11:20 asks for 142.0 kW; feed A's breaker would allow 185.0 kW.",
        limits=(
            LimitRow("site", "Demand response", 142_000.0, True, "25 % below the baseline", now_s - 600, now_s + 1200),
            LimitRow("feed A", "Breaker", 185_000.0, False, "80 % of 231 kW, continuous"),
            LimitRow("site", "Demand charge", 163_500.0, False, "this quarter of an hour", None, now_s + 420),
            LimitRow("feed A", "N+1", 176_000.0, False, "room to lose UPS 2"),
        ),
        storage=StorageRow(0.753, 0.3, 6_000.0, 7.2e8, "Discharging through the event.") if storage else None,
        scopes=(
            ScopeRow("site", None, 142_000.0, draw_w, "demand response"),
            ScopeRow("feed A", "site", 100_000.0, 71_000.0, "breaker"),
            ScopeRow("rack r1", "feed A", 40_000.0, 39_100.0, "breaker"),
            ScopeRow("rack r2", "feed A", 40_000.0, 31_900.0, "breaker"),
            ScopeRow("feed B", "site", 100_000.0, 58_000.0, "breaker"),
        ),
        jobs=_jobs(),
        events=(
            EventRow(now_s - 40, "Capped", "llama-pretrain-70b to 310 W a GPU"),
            EventRow(now_s - 560, "Settled", "the draw is under the event's limit, 40 s after it began"),
            EventRow(now_s - 600, "Event", "demand response: 25 % less for 30 minutes"),
            EventRow(now_s - 900, "Prepared", "battery charged to 82 %, 2 checkpoints taken ahead of the event"),
        ),
        history=past,
        forecast=_forecast(now_s),
        figures=(
            Figure("Energy", "1.42 MWh", "since midnight"),
            Figure("Cost of harm", "$38.10", "lost work, restarts and wear"),
            Figure("Saved", "$412.00", "event payment and demand charge"),
        ),
    )
