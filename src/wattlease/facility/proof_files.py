"""A proof as files that others read: JSON for programs, CSV for a spreadsheet, by minute and by job."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from wattlease.core.model import Floats
from wattlease.facility.proof import Minutes, Proof
from wattlease.facility.proof_ticks import JobShare

FORMAT = 1


def moment(at_s: float) -> str:
    """A time in UTC as RFC 3339."""
    return datetime.fromtimestamp(round(at_s, 3), UTC).isoformat().replace("+00:00", "Z")


def facts(found: Proof) -> dict[str, Any]:
    """The proof as plain values; what is not known is null."""
    event = found.event
    values = {
        "duration_s": found.duration_s, "baseline_w": found.baseline_w, "draw_w": found.draw_w,
        "limit_w": found.limit_w, "asked_w": found.asked_w, "delivered_w": found.delivered_w,
        "performance": found.performance, "delivered_kwh": found.delivered_kwh, "settle_s": found.settle_s,
        "over_kwh": found.over_kwh, "unused_kwh": found.unused_kwh, "highest_minute_w": found.highest_w,
        "snap_back_w": found.snap_back_w, "missing_s": found.missing_s, "job_cost": found.cost,
    }  # fmt: skip
    return {
        "format": FORMAT,
        "event": event.name,
        "scope": event.scope,
        "start": moment(event.start_s),
        "end": moment(event.end_s),
        "planned_end": moment(event.planned_end_s),
        "cancelled": event.was_cancelled,
        "baseline": {"method": found.baseline.method, "words": found.baseline.words},
        **{name: value if math.isfinite(value) else None for name, value in values.items()},
        "jobs": [_job(job) for job in found.jobs],
    }


def write(found: Proof, by_minute: Minutes, folder: Path) -> None:
    """proof.json, minutes.csv and jobs.csv. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "proof.json").write_bytes(orjson.dumps(facts(found), option=orjson.OPT_INDENT_2) + b"\n")
    (folder / "minutes.csv").write_text(_minutes(by_minute), encoding="utf-8")
    (folder / "jobs.csv").write_text(_table([_job(job) for job in found.jobs]), encoding="utf-8")


def _job(job: JobShare) -> dict[str, Any]:
    return {
        "job": job.id,
        "name": job.name,
        "owner": job.owner,
        "gpus": job.gpus,
        "seconds": round(job.seen_s, 3),
        "speed_kept": round(job.speed_frac, 6),
        "paused_seconds": round(job.paused_s, 3),
        "pauses": job.pauses,
        "gpu_hours_lost": round(job.lost_s * job.gpus / 3600.0, 6),
        "cost": round(job.cost, 6),
    }


def _minutes(by_minute: Minutes) -> str:
    columns: dict[str, Floats] = {
        "draw_w": by_minute.draw_w, "baseline_w": by_minute.baseline_w,
        "limit_w": by_minute.limit_w, "allowed_w": by_minute.allowed_w,
    }  # fmt: skip
    rows = zip(by_minute.at_s.tolist(), *(column.tolist() for column in columns.values()), strict=True)
    return _table(
        {"start": moment(at_s)} | {name: _cell(watts) for name, watts in zip(columns, cells, strict=True)}
        for at_s, *cells in rows
    )


def _cell(watts: float) -> str:
    return f"{watts:.1f}" if math.isfinite(watts) else ""


def _table(rows: Iterable[dict[str, Any]]) -> str:
    """Names come from users: one that a spreadsheet would take for a formula is told as text."""
    listed = list(rows)
    if not listed:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(listed[0]), lineterminator="\n")
    writer.writeheader()
    for row in listed:
        writer.writerow({name: _inert(value) for name, value in row.items()})
    return text.getvalue()


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
