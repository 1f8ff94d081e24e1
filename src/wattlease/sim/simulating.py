"""What `wattlease simulate` does: every policy on the same arrivals and noise, then tables, report and record."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from wattlease.core.api import PowerBudget
from wattlease.core.errors import BudgetError
from wattlease.runtime.files import load, load_all
from wattlease.runtime.record import Recorder
from wattlease.sim import ride_words
from wattlease.sim.loop import run as run_loop
from wattlease.sim.report import write_report
from wattlease.sim.ride import Ride, rides
from wattlease.sim.run import Overlay, Run
from wattlease.sim.scenario import Scenario
from wattlease.sim.summary import Summary, summary, tables
from wattlease.sim.traces import data_folder, phoenix_power

OURS = "wattlease"
PLAIN_GPU_TICKS = 1_000_000
ZIPPED_GPU_TICKS = 10_000_000
"""A packed record takes some 7 bytes for a GPU's tick: a Phoenix run 40 MB."""

WIDTH = 118
"""Columns of a table where the output is no terminal."""


def scenario_of(path: Path, policy: str | None = None, data: Path | None = None) -> Scenario:
    """The scenario of a file with its budgets, or BudgetError with file, line and field of every mistake."""
    scenario = load(path, Scenario)
    changes: dict[str, object] = {}
    if scenario.budget_file:
        changes["budgets"] = _budgets(path.parent / scenario.budget_file)
    if policy:
        changes["policies"] = (policy,)
    if data:
        changes["data_folder"] = str(data)
    return scenario.model_copy(update=changes)


def simulate(scenario: Scenario, folder: Path, seed: int, record: str) -> None:
    """Run every policy of the scenario, print the tables and write the folder."""
    made = _folder(folder)
    path = record_path(scenario, made, record)
    runs = [_run(scenario, policy, seed, path) for policy in scenario.policies]
    overlay, notes = _overlay(scenario)
    ridden = [rides(r, summary(r).events, scenario) for r in runs]
    runs = [replace(r, facts=dict(r.facts) | _facts(of)) for r, of in zip(runs, ridden, strict=True)]
    summaries = write_report(runs, made, overlay)
    _write_summary(made, {"events": _events_json(runs, ridden)})
    _print(summaries, notes)
    click.echo(f"\n{made / 'report.html'}\n{made / 'summary.json'}")
    if path:
        click.echo(f"{path}  ({path.stat().st_size / 1e6:,.1f} MB)")
    elif record == "auto":
        click.echo("no record: it would be large; --record gz writes one")


def compare_seeds(scenario: Scenario, folder: Path, seeds: Sequence[int]) -> None:
    """Run Wattlease on each seed, print a line for each and the worst of every measure, and write summary.json."""
    made = _folder(folder)
    rows = []
    for seed in seeds:
        one = _run(scenario, OURS, seed, None)
        told = summary(one)
        rows.append({"seed": seed} | ride_words.figures(told, rides(one, told.events, scenario)))
        click.echo(ride_words.line(f"seed {seed}", rows[-1]))
    worst = ride_words.worst(rows)
    click.echo(ride_words.line("worst", worst))
    body = {"name": scenario.name, "policy": OURS, "seeds": rows, "worst": worst}
    (made / "summary.json").write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))
    click.echo(f"\n{made / 'summary.json'}")


def record_path(scenario: Scenario, folder: Path, record: str) -> Path | None:
    """Where the ticks go, or None for nowhere; a record that is there already goes away either way."""
    for name in ("record.jsonl", "record.jsonl.gz"):
        (folder / name).unlink(missing_ok=True)
    if record == "auto":
        gpus = sum(g.nodes * g.gpus_per_node for g in scenario.groups)
        gpu_ticks = gpus * scenario.duration_seconds / scenario.tick_seconds
        record = "plain" if gpu_ticks <= PLAIN_GPU_TICKS else "gz" if gpu_ticks <= ZIPPED_GPU_TICKS else "none"
    if record == "none" or OURS not in scenario.policies:
        return None
    return folder / ("record.jsonl.gz" if record == "gz" else "record.jsonl")


def _budgets(path: Path) -> tuple[PowerBudget, ...]:
    budgets = tuple(r for r in load_all(path) if isinstance(r, PowerBudget))
    if not budgets:
        raise BudgetError(f"{path}:1: kind: holds no PowerBudget; write one, the scenario names this file for it")
    return budgets


def _folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BudgetError(f"{folder}: cannot be made: {error.strerror}; name another with --out") from error
    return folder


def _run(scenario: Scenario, policy: str, seed: int, record: Path | None) -> Run:
    with ExitStack() as stack:
        progress = stack.enter_context(_progress(f"{policy}, seed {seed}", float(scenario.duration_seconds)))
        watch = stack.enter_context(Recorder(record)).write if record and policy == OURS else None
        return run_loop(scenario, policy, seed, watch=watch, progress=progress)


@contextmanager
def _progress(title: str, total_s: float) -> Iterator[Callable[[float], None]]:
    """A bar on standard error; where that is no terminal, a line at each quarter."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(title, total_s)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total_s)
        yield lambda done_s: bar.update(task, completed=done_s)


def _lines(title: str, total_s: float) -> Callable[[float], None]:
    told = 0

    def tell(done_s: float) -> None:
        nonlocal told
        quarter = int(4 * done_s / total_s)
        if quarter > told:
            told = quarter
            print(f"{title}: {25 * quarter} %", file=sys.stderr, flush=True)

    return tell


def _overlay(scenario: Scenario) -> tuple[Overlay | None, list[str]]:
    """The field trace that the scenario asks for, or a line that says why it is not there."""
    if scenario.report.overlay != "phoenix":
        return None, []
    try:
        trace = phoenix_power(data_folder(scenario.data_folder))
    except BudgetError as missing:
        return None, [f"the field trace is not drawn: {missing}"]
    return Overlay(trace.t_s, trace.power_w, "field trial, May 2025"), []


def _facts(ridden: Sequence[Ride]) -> dict[str, float | str]:
    return {name: text for ride in ridden for name, text in ride_words.facts(ride).items()}


def _events_json(runs: Sequence[Run], ridden: Sequence[Sequence[Ride]]) -> list[dict[str, object]]:
    pairs = zip(runs, ridden, strict=True)
    return [{"policy": r.policy} | ride_words.ride_json(ride) for r, of in pairs for ride in of]


def _write_summary(folder: Path, more: dict[str, object]) -> None:
    """Add to the summary that the report wrote."""
    path = folder / "summary.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | more, option=orjson.OPT_INDENT_2))


def _print(summaries: Sequence[Summary], notes: Sequence[str]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    for table in tables(summaries):
        console.print(table, "", sep="\n")
    ours = next((s for s in summaries if s.policy == OURS), summaries[-1])
    for told in [ours, *(s for s in summaries if s.policy == "shares" and s is not ours)]:
        console.print(ride_words.facts_table(told.facts))
    for note in notes:
        console.print(note, markup=False)
