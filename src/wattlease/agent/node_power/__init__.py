"""What the node draws beside or around its GPUs, by the meters that it carries itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodePower:
    """A power that was true `age_s` ago. `whole` is the node with all that is in it, else processors and memory."""

    power_w: float
    age_s: float
    source: str
    whole: bool
