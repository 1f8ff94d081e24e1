"""Sixty consecutive jobs of Microsoft's Philly, as figures: GPUs and seconds, with terms that owners might ask for.

Source: the Philly trace (petuum/adaptdl's table of it, CC-BY-4.0), the 60 jobs from row 61,140 by submission. Times
are cut to between half a minute and eight minutes, so that a test sees jobs come and go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

GPUS = (
    1, 8, 1, 2, 1, 8, 1, 8, 8, 8, 8, 8, 1, 8, 16, 8, 8, 16, 8, 2, 4, 8, 2, 2, 2, 4, 8, 4, 4, 8,
    8, 2, 2, 2, 4, 4, 4, 8, 8, 8, 8, 1, 1, 2, 1, 1, 1, 2, 2, 2, 4, 4, 4, 1, 8, 8, 8, 8, 8, 8,
)  # fmt: skip
SECONDS = (
    66, 581, 61, 16, 76, 849, 79972, 768, 42, 934, 231, 607, 284, 527, 110052, 570, 108048, 181596, 1396, 18,
    177221, 534, 199, 136, 136, 154, 161, 154, 143, 181, 179, 150, 148, 163, 155, 172, 164, 223, 221, 198,
    310, 3034, 2816, 13, 119, 119, 117, 126, 112, 237, 132, 132, 139, 55, 163, 181, 177, 302, 327, 321,
)  # fmt: skip
SHORTEST_S, LONGEST_S = 30, 480


@dataclass(frozen=True, slots=True)
class Job:
    """What is submitted: a name by which the hardware knows its draw, and what its owner agrees to."""

    name: str
    gpus: int
    nodes: int
    seconds: int
    comment: str
    user: str

    @property
    def options(self) -> list[str]:
        """For sbatch; a limit of time somewhat above what it needs, as people ask for."""
        minutes = self.seconds // 60 + 10
        asked = [f"--gres=gpu:{self.gpus // self.nodes}", f"--nodes={self.nodes}", f"--time={minutes}"]
        return [*asked, f"--job-name={self.name}", f"--comment=wattlease:{self.comment}"]


def jobs() -> Iterator[Job]:
    """All sixty. Sizes say the kind: small ones evaluate, middle ones tune, whole nodes train, some serve."""
    for i, (gpus, seconds) in enumerate(zip(GPUS, SECONDS, strict=True)):
        name, comment = _kind(i, gpus)
        length_s = min(max(seconds, SHORTEST_S), LONGEST_S)
        yield Job(f"{name}-{i}", gpus, 2 if gpus > 8 else 1, length_s, comment, "alice" if i % 3 else "bob")


def _kind(i: int, gpus: int) -> tuple[str, str]:
    if gpus <= 2:
        return ("serve", "not-pausable,max-slowdown=10,value=6,kind=Inference") if i % 4 == 0 else ("eval", "pausable")
    if gpus <= 4:
        return "tune", "max-slowdown=25,pausable,checkpoint-every=60"
    return "train", "max-slowdown=40,pausable,checkpoint=USR1@2" if i % 2 else "max-slowdown=30,pausable"
