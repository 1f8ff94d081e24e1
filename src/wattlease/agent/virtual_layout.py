"""The bytes of a file of virtual GPUs: little-endian, packed, the same for Python and for any other reader.

A header, then `SLOTS` cards; those beyond `header.cards` were never plugged in. Milliwatts, millijoules, megahertz and
milliseconds, as NVML has them. There is no enforced limit in it: it is the lower of `limit_mw` and `bmc_mw`.
"""

from __future__ import annotations

import numpy as np

MAGIC = b"WATTVGPU"
VERSION = 1
SLOTS = 64
SLICES_MAX = 7
ALWAYS = 0xFFFFFFFF
"""In a fault's count of calls: all of them, from now on."""

LACKS_INSTANT, LACKS_MEAN, LACKS_ENERGY, LACKS_REASONS, LACKS_LIMITS = 1, 2, 4, 8, 16
"""Bits of `lacks`: what this card's driver does not support."""

HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("card_bytes", "<u4"),
        ("cards", "<u4"),
        ("init_error", "<u4"),  # while not 0, the driver cannot be opened and answers nobody
        ("init_hang_ms", "<u4"),
        ("played", "<u4"),  # 1 where something moves the draw; else it stands at idle
        ("generation", "<u8"),  # one more each time the driver is loaded; handles of an earlier one are void
        ("inits", "<u8"),
        ("made_ns", "<u8"),  # monotonic clock of the machine
        ("spare", "V8"),
    ]
)

SLICE = np.dtype([("uuid", "S64"), ("slices", "<u4"), ("spare", "<u4")])

FAULT = np.dtype(
    [
        ("error", "<u4"),  # NVML's code
        ("errors_left", "<u4"),  # how many more calls fail; ALWAYS
        ("hang_ms", "<u4"),
        ("hangs_left", "<u4"),
    ]
)

CARD = np.dtype(
    [
        ("uuid", "S64"),
        ("model", "S96"),
        ("present", "<u4"),
        ("lacks", "<u4"),
        ("min_mw", "<u4"),
        ("max_mw", "<u4"),
        ("default_mw", "<u4"),
        ("limit_mw", "<u4"),
        ("bmc_mw", "<u4"),  # an out-of-band limit; 0 is none
        ("idle_mw", "<u4"),
        ("draw_mw", "<u4"),
        ("mean_mw", "<u4"),
        ("clock_mhz", "<u4"),
        ("slices_whole", "<u4"),  # compute slices of the whole card; 0: MIG is off
        ("energy_mj", "<u8"),
        ("reasons", "<u8"),
        ("read", FAULT),
        ("set", FAULT),
        ("set_delta_mw", "<i4"),  # a set is accepted at this much more
        ("set_override_mw", "<u4"),  # or at this value; 0 is none
        ("set_calls", "<u8"),
        ("set_mw", "<u4"),  # what was last asked for through the driver, and by which process
        ("set_pid", "<u4"),
        ("outside_writes", "<u8"),  # limits written past the driver: a foreign writer's
        ("slices", SLICE, (SLICES_MAX,)),
    ]
)

FILE_BYTES = HEADER.itemsize + SLOTS * CARD.itemsize
