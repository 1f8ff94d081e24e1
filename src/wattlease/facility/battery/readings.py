"""From SunSpec models to one look at a battery."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from wattlease.facility.battery.blocks import Block
from wattlease.facility.battery.words import BatteryReading, ChargeState

Blocks = Mapping[int, Block]

SOC = ((802, "SoC"), (713, "SoC"), (124, "ChaState"))
SOH = ((802, "SoH"), (713, "SoH"))
MAX_CHARGE = ((802, "WChaRteMax"), (124, "WChaMax"))
MAX_DISCHARGE = ((802, "WDisChaRteMax"), (124, "WChaMax"))
DC_POWER = ((802, "W"), (714, "DCW"))
STATE = ((802, "ChaSt"), (124, "ChaSt"))
LOCAL = ((802, "LocRemCtl"), (715, "LocRemCtl"))
BEAT = ((802, "Hb"), (715, "DERHb"))
READ_MODELS = (802, 713, 715, 701, 714, 124)
"""Where the same is told twice, the first that tells it is believed; 124's discharge limit is that of charging."""

BANK_FAULTS = {
    1: "its battery is disconnected",
    2: "its battery starts up",
    6: "its battery shuts down",
    99: "its battery reports a fault",
}
INVERTER_FAULTS = {5: "its converter shuts down", 6: "its converter reports a fault"}
INVERTER_RESTS = (0, 1, 7)
"""Off, sleeping, standby: a converter may leave the grid while it has nothing to do."""


def reading_of(blocks: Blocks, discharge_sign: Literal["Positive", "Negative"]) -> BatteryReading:
    """What the models tell together."""
    ac_w = _first(blocks, ((701, "W"),))
    dc_w = _first(blocks, DC_POWER) * (1.0 if discharge_sign == "Positive" else -1.0)
    state = _raw(blocks, STATE)
    return BatteryReading(
        soc_frac=_first(blocks, SOC) / 100.0,
        soh_frac=_first(blocks, SOH) / 100.0,
        power_w=dc_w if math.isnan(ac_w) else ac_w,
        is_ac=not math.isnan(ac_w),
        max_charge_w=_first(blocks, MAX_CHARGE, math.inf),
        max_discharge_w=_first(blocks, MAX_DISCHARGE, math.inf),
        state=ChargeState(state) if state in set(ChargeState) else None,
        is_local=_raw(blocks, LOCAL) == 1,
        beat=_raw(blocks, BEAT),
        fault=_fault(blocks),
    )


def _fault(blocks: Blocks) -> str:
    bank = BANK_FAULTS.get(_raw(blocks, ((802, "State"),)) or 0)
    if bank:
        return bank
    if _raw(blocks, ((713, "Sta"),)) == 2:
        return "its storage reports an error"
    inverter = _raw(blocks, ((701, "InvSt"),))
    if inverter in INVERTER_FAULTS:
        return INVERTER_FAULTS[inverter]
    is_apart = _raw(blocks, ((701, "ConnSt"),)) == 0
    return "its converter is disconnected from the grid" if is_apart and inverter not in INVERTER_RESTS else ""


def _first(blocks: Blocks, places: tuple[tuple[int, str], ...], absent: float = math.nan) -> float:
    found = (blocks[model].value(point) for model, point in places if model in blocks)
    return next((value for value in found if value is not None), absent)


def _raw(blocks: Blocks, places: tuple[tuple[int, str], ...]) -> int | None:
    found = (blocks[model].raw(point) for model, point in places if model in blocks)
    return next((value for value in found if value is not None), None)
