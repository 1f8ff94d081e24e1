"""A job's sheet for people: how it stands, why, what it has used, what happened to it."""

from __future__ import annotations

import click
import orjson

from wattlease.core import explain
from wattlease.runtime.job_words import ENDED, J_PER_KWH, JobAccount, JobSheet
from wattlease.runtime.printed import clock, print_entries, shown


def print_sheet(sheet: JobSheet) -> None:
    """The sheet in words."""
    for line in lines(sheet):
        click.echo(shown(line))
    if sheet.entries:
        print_entries(sheet.entries)


def print_sheet_json(sheet: JobSheet) -> None:
    """The sheet with all its fields; what is not known is null."""
    click.echo(orjson.dumps(sheet, option=orjson.OPT_INDENT_2))


def lines(sheet: JobSheet) -> list[str]:
    """All but what happened, a sentence or more in each."""
    who = ", ".join(filter(None, (sheet.name if sheet.name != sheet.id else "", sheet.owner, sheet.cluster)))
    told = [f"job {sheet.id}{f' ({who})' if who else ''}: {sheet.state}, {sheet.gpus} GPUs"]
    if sheet.state != ENDED:
        told.append("; ".join((f"as of {clock(sheet.now_s)} UTC", *_now(sheet))))
    if sheet.sentence:
        told.append(f"{'told last: ' if sheet.state == ENDED else ''}{sheet.sentence}")
    if sheet.account:
        told += _used(sheet.account, sheet.currency, sheet.state == ENDED)
    elif sheet.state == ENDED:
        told.append("it never ran")
    if sheet.written > 1:
        told.append(f"the last of {sheet.written} runs that are written down")
    return told


def _now(sheet: JobSheet) -> list[str]:
    """How it runs at this moment, as far as it does."""
    parts = []
    if sheet.draw_w is not None and sheet.state not in ("held", "waiting"):
        of = f" of {explain.watts(sheet.full_w)}" if sheet.full_w else ""
        parts.append(f"draws {explain.watts(sheet.draw_w)}{of}")
    if sheet.cap_w is not None and sheet.state in ("running", "capped", "downsized"):
        parts.append(f"cap {sheet.cap_w:.0f} W a GPU")
    if sheet.speed_frac is not None and sheet.state in ("running", "capped", "downsized"):
        parts.append(f"keeps {sheet.speed_frac:.1%} of its speed")
    if sheet.cost_per_h is not None:
        parts.append(f"steering costs {sheet.cost_per_h:,.2f} {sheet.currency} an hour")
    return parts


def _used(account: JobAccount, currency: str, ended: bool) -> list[str]:
    """Its sums: time, then energy, carbon and money."""
    money = f" {currency}" if currency else ""
    until = f" until {clock(account.ended_s)}" if ended else ""
    times = [f"ran {explain.span(account.ran_s)}"]
    times += [f"paused {explain.span(account.paused_s)}"] if account.paused_s else []
    times += [f"did the work of {explain.span(account.speed_s)} at full speed"] if account.ran_s else []
    used = [f"{_energy(account.energy_j)} in its GPUs for {account.energy_cost:,.2f}{money}"]
    used += [f"{_mass(account.carbon_g)} of CO2"] if account.carbon_g else []
    used += [f"{account.lost:,.2f}{money} of work lost to steering"]
    return [f"from {clock(account.began_s)}{until} UTC: {', '.join(times)}", f"used {', '.join(used)}"]


def _energy(joules: float) -> str:
    kwh = joules / J_PER_KWH
    return f"{kwh * 1e3:.0f} Wh" if kwh < 1.0 else f"{kwh:,.1f} kWh" if kwh < 1e3 else f"{kwh / 1e3:,.2f} MWh"


def _mass(grams: float) -> str:
    if grams < 1e3:
        return f"{grams:.0f} g"
    return f"{grams / 1e3:.1f} kg" if grams < 1e6 else f"{grams / 1e6:.2f} t"
