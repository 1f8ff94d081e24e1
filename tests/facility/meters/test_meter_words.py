"""Whatever a device sends, it becomes a finite number or is refused; nothing raises."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wattlease.core.api import Meter
from wattlease.facility.meters.drivers import look
from wattlease.facility.meters.reading import Measured, Trouble
from wattlease.facility.meters.redfish import measured
from wattlease.facility.meters.snmp_mibs import MIBS
from wattlease.facility.meters.sunspec import METERS, points

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
json_values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
pages = st.dictionaries(
    st.sampled_from(["PowerWatts", "Reading", "ReadingUnits", "EnergykWh"]), json_values
) | st.builds(lambda reading: {"PowerWatts": {"Reading": reading}, "EnergykWh": {"Reading": reading}}, json_values)


@given(pages)
def test_any_redfish_page_is_a_finite_power_or_none(page: dict[str, Any]) -> None:
    found = measured(page)
    assert found is None or math.isfinite(found.power_w)


@given(st.sampled_from(sorted(MIBS)), st.data())
def test_any_answers_of_a_mib_are_a_finite_power_or_trouble(mib: str, data: st.DataObject) -> None:
    asked = MIBS[mib].asked(1)
    numbers = st.none() | st.integers(-(2**31), 2**32).map(float)
    found = MIBS[mib].understood(data.draw(st.lists(numbers, min_size=len(asked), max_size=len(asked))))
    assert isinstance(found, Trouble) or math.isfinite(found.power_w)


def test_every_meters_model_says_where_its_power_and_its_scale_stand() -> None:
    for model in METERS:
        places = points(model)
        scale = places["W"].scale
        assert scale is None or scale in places
        assert (scale is None) == (places["W"].kind == "float32")


async def test_a_mistake_of_ours_in_one_driver_is_trouble_of_that_meter_alone() -> None:
    class Broken:
        async def read(self) -> Measured | Trouble:
            raise KeyError("power")

        async def close(self) -> None: ...

    found = await look(Meter(name="feed", kind="Virtual"), Broken())
    assert isinstance(found, Trouble)
    assert "KeyError('power')" in found.text
