"""What a battery has gone through: energy in and out, and what was learned of its charge; kept by the caller."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from wattlease.core.api_base import Part
from wattlease.core.model import StorageUnit

J_PER_KWH = 3.6e6

GAP_S = 10.0
"""Power is not taken to have stayed the same for longer."""

Joules = Annotated[float, Field(ge=0)]


class Kept(Part):
    """What outlives the process, one value for each battery; energies on the AC side."""

    charged_joules: Joules = 0.0
    """Put in."""

    discharged_joules: Joules = 0.0
    """Taken out."""

    empty_at_frac: Annotated[float, Field(ge=0, le=1)] = 0.0
    """State of charge at which it proved to be empty."""

    def worn(self, power_w: float, span_s: float) -> Kept:
        """After this power, positive discharging, for this long."""
        if not math.isfinite(power_w) or not 0.0 < span_s <= GAP_S:
            return self
        into_j, out_j = max(-power_w, 0.0) * span_s, max(power_w, 0.0) * span_s
        more = {"charged_joules": self.charged_joules + into_j, "discharged_joules": self.discharged_joules + out_j}
        return self.model_copy(update=more)

    @property
    def throughput_kwh(self) -> float:
        """Energy in and out."""
        return (self.charged_joules + self.discharged_joules) / J_PER_KWH

    def cycles(self, unit: StorageUnit) -> float:
        """Full equivalent cycles: how often the cells gave their capacity."""
        return self.discharged_joules / math.sqrt(unit.round_trip_frac) / unit.capacity_j

    def cost(self, unit: StorageUnit) -> float:
        """What the discharged energy has worn off, money."""
        return self.discharged_joules / J_PER_KWH * unit.wear_per_kwh
