"""NVML's error codes that say that a card or its driver is gone, and their words; no binding is needed to read them."""

from __future__ import annotations

from wattlease.agent.cards import Trouble

UNINITIALIZED = 1
INVALID_ARGUMENT = 2
NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
LIB_RM_VERSION_MISMATCH = 18
DEPRECATED = 26
GPU_NOT_FOUND = 28
UNKNOWN = 999

TEXTS = {
    UNINITIALIZED: "the driver was reloaded or is not open",
    INVALID_ARGUMENT: "invalid argument",
    NOT_SUPPORTED: "not supported",
    NO_PERMISSION: "no permission; setting limits needs root with CAP_SYS_ADMIN",
    NOT_FOUND: "not found",
    DRIVER_NOT_LOADED: "the driver is not loaded",
    LIBRARY_NOT_FOUND: "libnvidia-ml.so.1 was not found; install the driver or mount its libraries",
    FUNCTION_NOT_FOUND: "the driver is too old for this function",
    GPU_IS_LOST: "the GPU has fallen off the bus",
    RESET_REQUIRED: "the GPU needs a reset",
    LIB_RM_VERSION_MISMATCH: "driver and library versions differ; restart what still holds the old one",
    DEPRECATED: "deprecated",
    GPU_NOT_FOUND: "no GPUs were found",
    UNKNOWN: "unknown error",
}

DRIVER_GONE = frozenset({UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, LIB_RM_VERSION_MISMATCH})
"""After these no card answers until the driver is opened anew."""

LOST = DRIVER_GONE | {GPU_IS_LOST, RESET_REQUIRED, GPU_NOT_FOUND}
"""After these nothing is known of a card's limit until it answers again."""

LACKING = frozenset({INVALID_ARGUMENT, NOT_SUPPORTED, FUNCTION_NOT_FOUND, DEPRECATED})
"""A read that fails with one of these will not succeed before the driver is replaced."""


def trouble(what: str, code: int) -> Trouble:
    """The trouble that a call's code means; `what` names the call or the card."""
    return Trouble(f"{what}: {TEXTS.get(code, 'NVML error')} ({code})", lost=code in LOST)
