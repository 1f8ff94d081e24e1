"""The doctor's findings as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wattlease.facility.doctor import Examination
from wattlease.facility.findings import Finding


def print_table(found: Examination, console: Console) -> None:
    """A row for each finding, what failed in red with its fix below."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("name", "kind", "read", "age", "took", "verdict"):
        table.add_column(name, overflow="fold", justify="right" if name in ("age", "took") else "left")
    for one in found.findings:
        table.add_row(one.name, one.kind, Text(one.read), _seconds(one.age_s), _seconds(one.took_s), _verdict(one))
    console.print(table)


def print_json(found: Examination) -> None:
    """One object: whether all is well, and the findings as they are."""
    told = {"ok": found.is_well, "findings": [asdict(one) for one in found.findings]}
    click.echo(json.dumps(told, indent=2, ensure_ascii=False))


def _verdict(one: Finding) -> Text:
    text = Text(one.verdict, style="green" if one.ok else "red")
    return text.append(f"\n{one.fix}", style="default") if one.fix else text


def _seconds(span_s: float | None) -> str:
    return "" if span_s is None else f"{span_s:.2f} s"
