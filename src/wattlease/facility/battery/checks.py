"""The doctor's look at batteries: each is read once, as it would be in service, and nothing is written."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from functools import partial

from wattlease.core.api import Pcs, PowerBudget, StorageSpec
from wattlease.facility.battery.sunspec import SunSpecBattery
from wattlease.facility.battery.words import BatteryReading, Trouble
from wattlease.facility.findings import Finding

KIND = "SunSpec battery"


async def batteries_answer(budgets: Sequence[PowerBudget]) -> tuple[Finding, ...]:
    """What there is to say of every battery that budgets name, all asked at once; a fix beside `ok` is advice."""
    found = await asyncio.gather(*(check(f"{b.name}/{s.name}", s) for b in budgets for s in b.spec.storage))
    return tuple(finding for findings in found for finding in findings)


async def check(name: str, spec: StorageSpec) -> tuple[Finding, ...]:
    """Look at one battery: does it answer, can it be ordered, and is it what was written of it."""
    if spec.pcs is None:
        fix = "write its converter under pcs.sunSpec, unless it is the simulator's"
        return (Finding(name, "battery", True, "has no converter, so it is not used", fix=fix),)
    battery, began_s = SunSpecBattery(spec.pcs), time.monotonic()
    try:
        reading = await battery.read()
        took_s = time.monotonic() - began_s
        identity = await battery.identity()
    finally:
        await battery.close()
    for answer in (reading, identity):
        if isinstance(answer, Trouble):
            fix = "compare host, port and unitId with the converter; does a firewall stand between?"
            return (
                Finding(name, KIND, False, answer.text, took_s=took_s, fix=fix if answer.lost else "see its manual"),
            )
    assert isinstance(reading, BatteryReading)
    first = Finding(name, KIND, True, "reads", f"{told(reading)}, {identity}", took_s=took_s)
    return (first, *_findings(name, spec, spec.pcs, battery, reading))


def told(reading: BatteryReading) -> str:
    """A reading in one line."""
    power = "power not told" if math.isnan(reading.power_w) else f"{reading.power_w / 1e3:+.2f} kW"
    charge = "charge not told" if math.isnan(reading.soc_frac) else f"{reading.soc_frac:.1%} charged"
    health = "" if math.isnan(reading.soh_frac) else f", health {reading.soh_frac:.0%}"
    return f"{power}, {charge}{health}"


def _findings(
    name: str, spec: StorageSpec, pcs: Pcs, battery: SunSpecBattery, reading: BatteryReading
) -> Iterator[Finding]:
    failed, model = partial(Finding, name, KIND, False), battery.orders_by()
    if isinstance(model, Trouble):
        yield failed(model.text, fix="enable remote control of power, with a reversion timer, at the device")
    else:
        yield Finding(name, KIND, True, f"takes orders by model {model}, which lapse after {pcs.reversion_seconds} s")
    if reading.fault:
        yield failed(reading.fault, fix="look at the device's own alarms")
    if reading.is_local:
        yield failed("is under local control and is left alone", fix="set it to remote at the device")
    if math.isnan(reading.soc_frac):
        yield failed("does not tell its state of charge", fix="have one of models 802, 713 and 124 enabled")
    yield from _advice(name, spec, pcs, battery, reading)


def _advice(
    name: str, spec: StorageSpec, pcs: Pcs, battery: SunSpecBattery, reading: BatteryReading
) -> Iterator[Finding]:
    well = partial(Finding, name, KIND, True)
    if reading.soc_frac < spec.reserve_percent / 100:
        text = f"is at {reading.soc_frac:.0%}, under its reserve of {spec.reserve_percent:g} %"
        yield well(text, fix="it gives nothing until it was charged")
    if pcs.sign_check and not reading.is_ac:
        text = "has no model 701: only the scope's own meter can tell whether it counts discharge as meant"
        yield well(text, fix="have model 701 enabled, and name a meter of the scope")
    if not battery.hears_beats():
        yield well("watches for no heartbeat: only its timer ends an order", fix="keep reversionSeconds short")
    for word, allowed_w, written_w in (
        ("maxChargeWatts", reading.max_charge_w, spec.max_charge_watts),
        ("maxDischargeWatts", reading.max_discharge_w, spec.max_discharge_watts),
    ):
        if allowed_w < written_w:
            text = f"allows {allowed_w:.0f} W where {word} says {written_w}; the lower one is used"
            yield well(text, fix=f"write {word}: {allowed_w:.0f}")
