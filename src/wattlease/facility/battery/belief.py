"""What is believed of one battery, from what it says and from what it does when it is ordered.

Rule 1: deeds win over words. A battery that ran dry while it told of charge left is believed to have been empty there;
    one that does the opposite of its order is used no more, whatever it says.
Rule 2: a battery that is not heard, is under local control, refuses or cannot work adds nothing. What it does all the
    same counts as it is measured; of one that is not heard, or whose word was a lie, nobody knows it.
Rule 3: its own limits narrow ours, and never widen them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from wattlease.core.model import Storage, StorageUnit
from wattlease.facility.battery.wear import Kept
from wattlease.facility.battery.words import BatteryReading, ChargeState, Ordered, Trouble

TOO_MUCH, TOO_FULL = 3.0, 1.1
"""Of its power and of its capacity: beyond, a reading is none. Batteries do show a little more than full."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a battery is given for each thing, in seconds, and what counts as power at all."""

    lost_s: float = 3.0
    """Without an answer it still counts, at its last reading: its order outlasts this."""

    settle_s: float = 5.0
    """From a new order until its deeds are looked at."""

    wrong_s: float = 3.0
    """Of doing the opposite without coming nearer."""

    dry_s: float = 3.0
    """Of giving nothing after it gave."""

    start_s: float = 60.0
    """From an order until it must have given something; converters sleep."""

    retry_s: float = 60.0
    """After a refusal it is left out this long."""

    look_s: float = 15.0
    """From a new order of the plan until the feed is compared: converter, meter and their windows have come to rest."""

    beat_s: float = 10.0
    """A heartbeat that has moved before stands still at most this long."""

    floor_frac: float = 0.05
    """Of its power; orders and deeds below it prove nothing."""


USUAL = Patience()
"""For converters that are none too quick."""


@dataclass(frozen=True, slots=True)
class Belief:
    """One battery. Times are on the caller's steady clock; `lie` and `refused` say why it is left out, in words."""

    unit: StorageUnit
    kept: Kept = field(default_factory=Kept)
    reading: BatteryReading | None = None
    read_s: float = -math.inf
    trouble: str = "was not read yet"
    refused: str = ""
    refused_s: float = -math.inf
    lie: str = ""
    order_w: float = 0.0
    ordered_s: float = -math.inf
    gave: bool = False
    wrong_w: float = 0.0
    wrong_s: float = math.inf
    dry_s: float = math.inf
    beat_s: float = -math.inf
    beats: bool = False

    @property
    def soc_frac(self) -> float:
        """Charge that is really there, as part of the capacity."""
        told = self.reading.soc_frac if self.reading else math.nan
        return max(0.0, min(1.0, told) - self.kept.empty_at_frac) if math.isfinite(told) else math.nan

    @property
    def soh_frac(self) -> float:
        """Health as told; a battery that does not tell is taken at the capacity that its owner wrote."""
        told = self.reading.soh_frac if self.reading else math.nan
        return told if told > 0.0 else 1.0


def heard(belief: Belief, reading: BatteryReading, now_s: float, patience: Patience, checks_sign: bool) -> Belief:
    """It answered: count what it did since, and hold its deeds against its order."""
    reading = _plausible(reading, belief.unit)
    power_w = belief.reading.power_w if belief.reading else math.nan
    kept = belief.kept.worn(power_w, now_s - belief.read_s)
    moved = belief.reading is not None and reading.beat is not None and reading.beat != belief.reading.beat
    belief = replace(
        belief,
        kept=kept,
        reading=reading,
        read_s=now_s,
        trouble="",
        beat_s=now_s if moved or belief.trouble else belief.beat_s,
        beats=belief.beats or (moved and not belief.trouble),
    )
    if math.isnan(reading.power_w) or reading.is_local:
        return _unproven(belief)
    belief = _judged_sign(belief, now_s, patience) if checks_sign and reading.is_ac else belief
    return _judged_gift(belief, now_s, patience)


def silent(belief: Belief, trouble: Trouble) -> Belief:
    """It did not answer, or not with anything of use."""
    return _unproven(replace(belief, trouble=trouble.text))


def ordered(belief: Belief, answer: Ordered | Trouble, now_s: float, patience: Patience) -> Belief:
    """What came of an order; the first that proves anything, and one in the other direction, begin anew."""
    if isinstance(answer, Trouble):
        if answer.lost:
            return silent(belief, answer)
        return _unproven(replace(belief, refused=answer.text, refused_s=now_s))
    begins = belief.order_w * answer.power_w <= 0.0 or abs(belief.order_w) < floor_w(belief.unit, patience)
    belief = replace(_unproven(belief), ordered_s=now_s) if begins else belief
    return replace(belief, order_w=answer.power_w, refused="")


def why_not(belief: Belief, now_s: float, patience: Patience) -> str:
    """Why it may not be used, empty if it may."""
    reading = belief.reading
    if reading is None or (belief.trouble and now_s - belief.read_s > patience.lost_s):
        return belief.trouble
    if belief.lie:
        return belief.lie
    if belief.refused and now_s - belief.refused_s < patience.retry_s:
        return belief.refused
    if reading.is_local:
        return "is under local control; set it to remote at the device"
    if not math.isfinite(reading.soc_frac):
        return "does not tell its state of charge"
    if _stands_still(belief, now_s, patience):
        return f"its heartbeat has stood still for {now_s - belief.beat_s:.0f} s"
    return reading.fault


def storage(belief: Belief, now_s: float, patience: Patience) -> Storage:
    """The battery as a tick knows it."""
    return Storage(
        soc_frac=belief.soc_frac,
        soh_frac=belief.soh_frac,
        power_w=_power_w(belief, now_s, patience),
        age_s=max(0.0, now_s - belief.read_s),
        available=not why_not(belief, now_s, patience),
        max_charge_w=belief.reading.max_charge_w if belief.reading else math.inf,
        max_discharge_w=belief.reading.max_discharge_w if belief.reading else math.inf,
    )


def _power_w(belief: Belief, now_s: float, patience: Patience) -> float:
    """What it gives as it tells, else as it was ordered; NaN where nobody knows."""
    lost = belief.trouble and now_s - belief.read_s > patience.lost_s
    if belief.reading is None or lost or _stands_still(belief, now_s, patience):
        return math.nan
    told_w = belief.reading.power_w
    if belief.lie and abs(told_w) >= floor_w(belief.unit, patience):
        return math.nan
    return belief.order_w if math.isnan(told_w) and not why_not(belief, now_s, patience) else told_w


def _stands_still(belief: Belief, now_s: float, patience: Patience) -> bool:
    """Whether its heartbeat does; then its readings do, too."""
    return belief.beats and now_s - belief.beat_s > patience.beat_s


def limited(belief: Belief) -> StorageUnit:
    """The unit with its own limits, where they are narrower than what is written."""
    reading = belief.reading
    if reading is None:
        return belief.unit
    return replace(
        belief.unit,
        max_charge_w=min(belief.unit.max_charge_w, reading.max_charge_w),
        max_discharge_w=min(belief.unit.max_discharge_w, reading.max_discharge_w),
    )


def floor_w(unit: StorageUnit, patience: Patience) -> float:
    """Power below which neither order nor deed proves anything."""
    return patience.floor_frac * max(unit.max_charge_w, unit.max_discharge_w)


def _plausible(reading: BatteryReading, unit: StorageUnit) -> BatteryReading:
    """Without what cannot be: a scale factor read at the wrong moment is off by tens."""
    most_w = TOO_MUCH * max(unit.max_charge_w, unit.max_discharge_w)
    power_w = reading.power_w if abs(reading.power_w) <= most_w else math.nan
    soc_frac = reading.soc_frac if 0.0 <= reading.soc_frac <= TOO_FULL else math.nan
    return replace(reading, power_w=power_w, soc_frac=soc_frac)


def _unproven(belief: Belief) -> Belief:
    return replace(belief, order_w=0.0, gave=False, wrong_s=math.inf, dry_s=math.inf)


def _judged_sign(belief: Belief, now_s: float, patience: Patience) -> Belief:
    """Doing the opposite is a lie unless it comes nearer: a slow converter first has to leave what it did before."""
    assert belief.reading is not None
    small_w = floor_w(belief.unit, patience)
    against_w = -math.copysign(1.0, belief.order_w) * belief.reading.power_w
    if abs(belief.order_w) < small_w or against_w < small_w:
        return replace(belief, wrong_s=math.inf)
    if math.isinf(belief.wrong_s) or against_w < belief.wrong_w - 0.1 * small_w:
        return replace(belief, wrong_s=now_s, wrong_w=against_w)
    settled_s = max(belief.wrong_s, belief.ordered_s + patience.settle_s)
    if now_s - settled_s < patience.wrong_s:
        return belief
    did = "charges" if belief.order_w > 0 else "discharges"
    text = f"{did} at {against_w:.0f} W when ordered the opposite ({belief.order_w:+.0f} W); it is used no more"
    return replace(belief, lie=f"{text}. Check how its converter counts discharge, then restart Wattlease")


def _judged_gift(belief: Belief, now_s: float, patience: Patience) -> Belief:
    """Whether it gives what it was ordered to: running dry moves where it is empty, never giving is a refusal."""
    assert belief.reading is not None
    reading, small_w = belief.reading, floor_w(belief.unit, patience)
    if belief.order_w < small_w or reading.power_w < -small_w:  # what goes the other way is the sign's matter
        return replace(belief, gave=False, dry_s=math.inf)
    if reading.power_w >= belief.order_w / 2:
        return replace(belief, gave=True, dry_s=math.inf, kept=_empty_at(belief, min))
    if reading.power_w >= belief.order_w / 10:
        return replace(belief, dry_s=math.inf)
    if reading.state == ChargeState.EMPTY or belief.gave:
        since_s = min(belief.dry_s, now_s)
        if now_s - since_s < patience.dry_s:
            return replace(belief, dry_s=since_s)
        return replace(_unproven(belief), kept=_empty_at(belief, max))
    waited_s = now_s - belief.ordered_s
    if waited_s < patience.start_s:
        return belief
    text = f"has given {reading.power_w:.0f} W of {belief.order_w:.0f} W for {waited_s:.0f} s"
    return _unproven(replace(belief, refused=text, refused_s=now_s))


def _empty_at(belief: Belief, extreme: Callable[[float, float], float]) -> Kept:
    """With the charge it tells now taken into account, where it tells any."""
    told = belief.reading.soc_frac if belief.reading else math.nan
    if not math.isfinite(told):
        return belief.kept
    at_frac = extreme(belief.kept.empty_at_frac, min(1.0, max(0.0, told)))
    return belief.kept.model_copy(update={"empty_at_frac": at_frac})
