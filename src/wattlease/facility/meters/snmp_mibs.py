"""What each kind of PDU and UPS is asked over SNMP, and what its answers mean in watts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wattlease.facility.meters.reading import Measured, Trouble

Answers = Sequence[float | None]
"""Beside the objects asked for; `None` where the device has no such object."""

APC = "1.3.6.1.4.1.318.1.1.26.4.3.1"
UPS = "1.3.6.1.2.1.33.1"
RARITAN = "1.3.6.1.4.1.13742.6"

LINES_MAX = 6
"""Phases that a UPS is asked for; none has more than three, a pair of them has six."""

ON_BATTERY = 5
"""upsOutputSource (RFC 1628, 4.1): battery."""

ACTIVE_POWER, ACTIVE_ENERGY = 5, 8
"""Sensor types of a Raritan PDU: active power in watts, active energy in watt-hours."""

DIGITS_MAX = 9
"""More decimal digits would leave nothing of 32 bits."""


@dataclass(frozen=True, slots=True)
class Mib:
    """`asked` gives the objects for an index, `understood` what their values mean."""

    asked: Callable[[int], tuple[str, ...]]
    understood: Callable[[Answers], Measured | Trouble]


def _apc_asked(index: int) -> tuple[str, ...]:
    return f"{APC}.5.{index}", f"{APC}.9.{index}"


def _apc(answers: Answers) -> Measured | Trouble:
    """rPDU2DeviceStatusPower counts hundredths of a kilowatt, rPDU2DeviceStatusEnergy tenths of a kilowatt-hour."""
    power, energy = answers
    if power is None or power < 0:
        return Trouble("this PDU does not measure its power", "check index; a basic model has no such meter")
    return Measured(power * 10.0, "rPDU2DeviceStatusPower", energy_j=_counted(energy, 360_000.0))


def _ups_output_asked(_: int) -> tuple[str, ...]:
    return f"{UPS}.4.3.0", f"{UPS}.4.1.0", *(f"{UPS}.4.4.1.4.{line}" for line in range(1, LINES_MAX + 1))


def _ups_input_asked(_: int) -> tuple[str, ...]:
    return f"{UPS}.3.2.0", f"{UPS}.4.1.0", *(f"{UPS}.3.3.1.5.{line}" for line in range(1, LINES_MAX + 1))


def _ups(answers: Answers) -> Measured | Trouble:
    """The sum of all lines: each must answer, for a missing one would look like less power."""
    lines, source, *each = answers
    if lines is None or not 1 <= lines <= LINES_MAX:
        return Trouble("does not tell how many lines it has, as RFC 1628 asks", "write oid instead of mib")
    powers_w = [w for w in each[: int(lines)] if w is not None and w >= 0]
    if len(powers_w) < lines:
        return Trouble(f"tells the power of {len(powers_w)} of its {lines:g} lines", "write oid instead of mib")
    battery = ", on battery" if source == ON_BATTERY else ""
    return Measured(sum(powers_w), f"{lines:g} lines by RFC 1628{battery}")


def _raritan_asked(inlet: int) -> tuple[str, ...]:
    values, digits = f"{RARITAN}.5.2.3.1", f"{RARITAN}.3.3.4.1.7"
    power, energy = f"1.{inlet}.{ACTIVE_POWER}", f"1.{inlet}.{ACTIVE_ENERGY}"
    return (
        f"{values}.2.{power}",
        f"{values}.4.{power}",
        f"{digits}.{power}",
        f"{values}.4.{energy}",
        f"{digits}.{energy}",
    )


def _raritan(answers: Answers) -> Measured | Trouble:
    """measurementsInletSensorValue counts in units of 10 to the minus inletSensorDecimalDigits."""
    available, power, digits, energy, energy_digits = answers
    if power is None or digits is None or not 0 <= digits <= DIGITS_MAX:
        return Trouble("this inlet tells no active power", "check index; some models measure current only")
    if available == 2.0:  # TruthValue: false
        return Trouble("this inlet's power sensor is not available just now", "look at the PDU's own page")
    fine = energy_digits if energy_digits is not None and 0 <= energy_digits <= DIGITS_MAX else None
    energy_j = None if fine is None else _counted(energy, 3600.0 / 10.0**fine)
    return Measured(power / 10.0**digits, "inlet activePower", energy_j=energy_j)


def _counted(value: float | None, unit_j: float) -> float | None:
    return None if value is None or value < 0 else value * unit_j


MIBS = {
    "ApcRpdu2": Mib(_apc_asked, _apc),
    "Ups1628": Mib(_ups_output_asked, _ups),
    "Ups1628Input": Mib(_ups_input_asked, _ups),
    "RaritanPdu2": Mib(_raritan_asked, _raritan),
}
