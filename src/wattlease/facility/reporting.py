"""What `wattlease report` does: read, list, prove, write."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from pathlib import Path

import click
import orjson

from wattlease.core import explain
from wattlease.core.errors import WattleaseError
from wattlease.facility.proof import Proof, minutes_around, proof
from wattlease.facility.proof_baseline import NoBaseline
from wattlease.facility.proof_course import MINUTE_S
from wattlease.facility.proof_files import facts
from wattlease.facility.proof_files import write as write_files
from wattlease.facility.proof_page import proof_page
from wattlease.facility.proof_ticks import Record, RecordedEvent, recorded
from wattlease.runtime.commands import progress_of
from wattlease.runtime.zones import zone

MOST_POINTS = 900
"""Of the chart: an event of days is drawn in longer steps than minutes."""


class ProofError(WattleaseError):
    """An event cannot be proved from these records; the text says why and what would help."""


def zone_of(name: str) -> tzinfo:
    """The time zone; raises click's error for a name that nobody knows."""
    found = zone(name)
    if found is None:
        raise click.BadParameter(
            f"{name!r} is no time zone; write a name such as Europe/Berlin", param_hint="time-zone"
        )
    return found


def read(records: Sequence[Path]) -> Record:
    """All segments at once; raises RecordError."""
    with progress_of("read") as move:
        return recorded(records, move)


def list_events(record: Record, tz: tzinfo) -> None:
    """A line for each event."""
    for event in sorted(record.events.values(), key=lambda e: (e.start_s, e.scope, e.name)):
        click.echo(_line(event, tz))
    if not record.events:
        click.echo("no event in these records")


def prove(record: Record, name: str, scope: str | None, method: str, tz: tzinfo) -> Proof:
    """The proof of the event of that name; raises ProofError."""
    named = record.named(name, scope)
    if not named:
        known = ", ".join(sorted({n for _, n in record.events})) or "none"
        raise ProofError(f"no event {name!r} in these records; there: {known}")
    if len(named) > 1:
        scopes = ", ".join(sorted(event.scope for event in named))
        raise ProofError(f"{name!r} is an event of several scopes; name one with --scope: {scopes}")
    found = proof(record, named[0], method, tz)
    if isinstance(found, NoBaseline):
        raise ProofError(f"{name}: {found.text}")
    return found


def print_json(found: Proof) -> None:
    """The proof on standard output."""
    click.echo(orjson.dumps(facts(found), option=orjson.OPT_INDENT_2))


def write(record: Record, found: Proof, folder: Path, tz: tzinfo) -> None:
    """All files, and a summary in a few lines."""
    by_minute = minutes_around(record, found)
    spans = max(1, round(found.duration_s / MINUTE_S / MOST_POINTS))
    drawn = by_minute if spans == 1 else minutes_around(record, found, MINUTE_S * spans)
    try:
        write_files(found, by_minute, folder)
        (folder / "report.html").write_text(proof_page(found, drawn, tz), encoding="utf-8")
    except OSError as error:
        raise ProofError(f"{folder}: {error.strerror}; name another folder with --out") from error
    click.echo(_line(found.event, tz))
    click.echo(f"baseline  {explain.watts(found.baseline_w)}: {found.baseline.words}")
    click.echo(f"asked     {explain.watts(found.asked_w)}, delivered {explain.watts(found.delivered_w)}")
    click.echo(f"written   {folder / 'report.html'}, proof.json, minutes.csv, jobs.csv")


def _line(event: RecordedEvent, tz: tzinfo) -> str:
    start, end = (
        datetime.fromtimestamp(at_s, tz).strftime("%Y-%m-%d %H:%M:%S") for at_s in (event.start_s, event.end_s)
    )
    cancelled = " (cancelled)" if event.was_cancelled else ""
    return f"{event.name}  {event.scope}  {start} to {end}{cancelled}  down to {explain.watts(min(event.limit_w))}"
