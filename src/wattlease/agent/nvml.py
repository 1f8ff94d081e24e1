"""NVIDIA GPUs as a driver, through the `nvidia-ml-py` binding. Milliwatts become watts here and nowhere else.

The limit is set with the first version of its function only: the binding of the second throws its error code away.
GPUs whose driver offers no power limit (display cards) cannot be held to a lease: they belong to the node's overhead.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pynvml  # type: ignore[import-untyped]

from wattlease.agent.cards import Card, CardReading, Glance, Trouble
from wattlease.agent.nvml_errors import DRIVER_GONE, GPU_IS_LOST, LACKING, trouble

Given = ParamSpec("Given")
Found = TypeVar("Found")

INSTANT = pynvml.NVML_FI_DEV_POWER_INSTANT
MEAN = pynvml.NVML_FI_DEV_POWER_AVERAGE
ENERGY = pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION
GPU_SCOPE = pynvml.NVML_POWER_SCOPE_GPU

WHOLE = (
    pynvml.NVML_GPU_INSTANCE_PROFILE_8_SLICE,
    pynvml.NVML_GPU_INSTANCE_PROFILE_7_SLICE,
    pynvml.NVML_GPU_INSTANCE_PROFILE_4_SLICE,
)
"""The MIG profiles that are a whole card; a GPU model offers one of them."""

VALUE = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""The member of a field's union by the field's type."""

GPUS_IN_KERNEL = Path("/proc/driver/nvidia/gpus")
"""Where the kernel driver lists its GPUs: an open NVML may not see those that came later."""


def told(call: Callable[Given, Found]) -> Callable[Given, Found | Trouble]:
    """The call, with what the binding raises told as trouble."""

    @wraps(call)
    def safely(*args: Given.args, **kwargs: Given.kwargs) -> Found | Trouble:
        try:
            return call(*args, **kwargs)
        except pynvml.NVMLError as error:
            return trouble(f"{args[1] if len(args) > 1 else 'driver'}: {call.__name__}", error.value)

    return safely


class Nvml:
    """The `Driver` of real GPUs. What a card does not support is remembered and asked no more until it is reopened."""

    def __init__(self) -> None:
        self._handles: dict[str, Any] = {}
        self._lacking: set[tuple[str, str | int]] = set()
        self._open = False
        self._listed: frozenset[str] = frozenset()

    @told
    def find(self) -> tuple[Card, ...]:
        """The cards that answer now and can be limited."""
        if not self._open or _listed() != self._listed:
            self._reopen()
        found = [each for index in range(pynvml.nvmlDeviceGetCount()) if (each := _found(index))]
        self._handles = {card.uuid: handle for card, handle in found}
        return tuple(card for card, _ in found)

    @told
    def read(self, uuid: str) -> CardReading:
        """Look at a card."""
        handle = self._handle(uuid)
        drawn = self._drawn(uuid, handle, (INSTANT, MEAN, ENERGY))
        limit_mw = pynvml.nvmlDeviceGetPowerManagementLimit(handle)
        enforced_mw = self._if_any(uuid, "enforced", partial(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle))
        clock_mhz = self._if_any(uuid, "clock", partial(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM))
        reasons = self._if_any(uuid, "reasons", partial(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle))
        return CardReading(
            power_w=_thousandth(drawn.get(INSTANT)),
            mean_w=_thousandth(drawn.get(MEAN)),
            energy_j=_thousandth(drawn.get(ENERGY)),
            limit_w=limit_mw / 1e3,
            enforced_w=(limit_mw if enforced_mw is None else enforced_mw) / 1e3,
            clock_hz=None if clock_mhz is None else clock_mhz * 1e6,
            reasons=reasons or 0,
        )

    @told
    def glance(self, uuid: str) -> Glance:
        """Look at a card's draw and limit only."""
        handle = self._handle(uuid)
        drawn = self._drawn(uuid, handle, (INSTANT, ENERGY))
        limit_mw = pynvml.nvmlDeviceGetPowerManagementLimit(handle)
        return Glance(_thousandth(drawn.get(INSTANT)), _thousandth(drawn.get(ENERGY)), limit_mw / 1e3)

    @told
    def limit(self, uuid: str, limit_w: float) -> None:
        """Set its power limit, rounded down to what NVML counts in."""
        pynvml.nvmlDeviceSetPowerManagementLimit(self._handle(uuid), int(limit_w * 1e3))

    @told
    def reopen(self) -> None:
        """Initialise NVML anew; handles are found again by `find`."""
        self._reopen()

    def _reopen(self) -> None:
        if self._open:
            self._open = False
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
        self._handles, self._lacking = {}, set()
        pynvml.nvmlInit()
        self._open, self._listed = True, _listed()

    def _handle(self, uuid: str) -> Any:
        if uuid not in self._handles:
            raise pynvml.NVMLError(GPU_IS_LOST)
        return self._handles[uuid]

    def _drawn(self, uuid: str, handle: Any, wanted: tuple[int, ...]) -> dict[int, float]:
        """Milliwatts and millijoules by field, in one call where the driver has fields, else by older functions."""
        asked = [field for field in wanted if (uuid, field) not in self._lacking]
        drawn = self._fields(uuid, handle, asked) if asked else {}
        for field, older in _OLDER.items():
            if field in wanted and field not in drawn:
                value = self._if_any(uuid, older, partial(getattr(pynvml, older), handle))
                if value is not None:
                    drawn[field] = value
        return drawn

    def _fields(self, uuid: str, handle: Any, asked: list[int]) -> dict[int, float]:
        scoped = [(field, GPU_SCOPE) for field in asked]
        answers = self._if_any(uuid, "fields", partial(pynvml.nvmlDeviceGetFieldValues, handle, scoped))
        drawn = {}
        for answer in answers or ():
            if answer.nvmlReturn == pynvml.NVML_SUCCESS:
                drawn[answer.fieldId] = getattr(answer.value, VALUE[answer.valueType])
            elif answer.nvmlReturn in LACKING:
                self._lacking.add((uuid, answer.fieldId))
            else:
                raise pynvml.NVMLError(answer.nvmlReturn)
        return drawn

    def _if_any(self, uuid: str, name: str, call: Callable[[], Found]) -> Found | None:
        if (uuid, name) in self._lacking:
            return None
        try:
            return call()
        except pynvml.NVMLError as error:
            if error.value not in LACKING:
                raise
            self._lacking.add((uuid, name))
            return None


_OLDER = {INSTANT: "nvmlDeviceGetPowerUsage", ENERGY: "nvmlDeviceGetTotalEnergyConsumption"}


def _found(index: int) -> tuple[Card, Any] | None:
    """A card and its handle; `None` where this one cannot be limited or is in trouble, but the driver answers."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        return _card(handle, index), handle
    except pynvml.NVMLError as error:
        if error.value in DRIVER_GONE:
            raise
        return None


def _listed() -> frozenset[str]:
    try:
        return frozenset(path.name for path in GPUS_IN_KERNEL.iterdir())
    except OSError:
        return frozenset()


def _card(handle: Any, index: int) -> Card:
    min_mw, max_mw = pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
    return Card(
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        index=index,
        model=pynvml.nvmlDeviceGetName(handle),
        min_w=min_mw / 1e3,
        max_w=max_mw / 1e3,
        default_w=pynvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) / 1e3,
        slices=_slices(handle),
    )


def _slices(handle: Any) -> tuple[tuple[str, float], ...]:
    """The MIG instances' uuids and their parts of the card's compute slices; none where MIG is off."""
    try:
        if pynvml.nvmlDeviceGetMigMode(handle)[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
            return ()
        whole = _whole_slices(handle)
        count = pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except pynvml.NVMLError as error:
        if error.value in LACKING:
            return ()
        raise
    found = []
    for number in range(count):
        with suppress(pynvml.NVMLError_NotFound):
            part = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
            slices = pynvml.nvmlDeviceGetAttributes(part).computeInstanceSliceCount
            found.append((pynvml.nvmlDeviceGetUUID(part), slices / whole))
    return tuple(found)


def _whole_slices(handle: Any) -> int:
    for profile in WHOLE:
        with suppress(pynvml.NVMLError_NotSupported, pynvml.NVMLError_InvalidArgument):
            return int(pynvml.nvmlDeviceGetGpuInstanceProfileInfo(handle, profile, version=1).sliceCount)
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1e3
