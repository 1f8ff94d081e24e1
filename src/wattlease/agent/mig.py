"""A card's draw, split among its jobs: parts that sum to the card, never the card once more for each.

Rule 1: the parts of a card sum to exactly one, in whatever order they are added. They are counted in 2^-20ths.
Rule 2: what is not the whole card is an estimate. No GPU measures the draw of a MIG instance or of a time slice.

A MIG instance counts by its compute slices, and what no job holds is idle. Who share a device without MIG have it in
equal parts, or in parts of how busy each is seen, where that is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from wattlease.agent.cards import Card
from wattlease.agent.jobs import Holding
from wattlease.runtime.lease.report import Share

IDLE = "(idle)"
"""The part that no job holds; no pod and no Slurm job can have this name."""

OTHERS = "(others)"
"""Jobs of a card beyond the 62 largest, together: a report carries at most 64 shares for a card."""

TOLD_MAX = 62
UNIT = 1 << 20


def shares(card: Card, holdings: Iterable[Holding], busy_frac: Mapping[str, float] | None = None) -> tuple[Share, ...]:
    """The card among its jobs, the largest first; devices are uuids, as `held_by_card` gives them.

    `busy_frac` (0 to 1, by job) weighs those who share a device, where it is known of all of them.
    """
    weights: Counter[str] = Counter()
    held = _jobs_by_device(card, holdings)
    for device, part in _parts(card, held):
        weights.update(_split(part, held.get(device, {}), busy_frac or {}))
    units = _apportioned(_fewer(weights))
    whole = len(units) == 1
    told = sorted(units.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Share(job=job, share_frac=count / UNIT, estimated=not whole) for job, count in told)


def _jobs_by_device(card: Card, holdings: Iterable[Holding]) -> dict[str, Counter[str]]:
    """How many slices of each device each job holds; several containers with the same slice count once."""
    ours = {card.uuid, *(uuid for uuid, _ in card.slices)}
    held: dict[str, Counter[str]] = {}
    for one in dict.fromkeys((held.job, held.device, held.replica) for held in holdings if held.device in ours):
        held.setdefault(one[1], Counter())[one[0]] += 1
    return held


def _parts(card: Card, held: Mapping[str, Counter[str]]) -> list[tuple[str, float]]:
    """The devices of a card with their weights: its MIG instances and what is left over, or itself.

    A job on the card's own uuid, where it has instances, is one that began before they were made: it has what is left.
    """
    if not card.slices:
        return [(card.uuid, 1.0)]
    left = max(0.0, 1.0 - sum(part for _, part in card.slices))
    return [*card.slices, (card.uuid, left)]


def _split(part: float, jobs: Mapping[str, int], busy_frac: Mapping[str, float]) -> dict[str, float]:
    if not jobs:
        return {IDLE: part}
    known = {job: busy_frac[job] for job in jobs if busy_frac.get(job, -1.0) >= 0.0}
    weights: Mapping[str, float] = known if len(known) == len(jobs) and sum(known.values()) > 0.0 else jobs
    total = sum(weights.values())
    return {job: part * weight / total for job, weight in weights.items()}


def _fewer(weights: Mapping[str, float]) -> dict[str, float]:
    """The jobs that a report has room for, without what weighs nothing and is nobody's."""
    idle = weights.get(IDLE, 0.0)
    jobs = sorted(((weight, job) for job, weight in weights.items() if job != IDLE), key=lambda one: (-one[0], one[1]))
    told = {job: weight for weight, job in jobs[:TOLD_MAX]}
    if len(jobs) > TOLD_MAX:
        told[OTHERS] = sum(weight for weight, _ in jobs[TOLD_MAX:])
    return {**told, IDLE: idle} if idle > 0.0 or not told else told


def _apportioned(weights: Mapping[str, float]) -> dict[str, int]:
    """Whole units in proportion to the weights, UNIT in all; what rounding leaves goes to the largest remainders."""
    total = sum(weights.values())
    if total <= 0.0:
        weights, total = dict.fromkeys(weights, 1.0), float(len(weights))
    exact = {job: weight / total * UNIT for job, weight in weights.items()}
    units = {job: int(count) for job, count in exact.items()}
    left = UNIT - sum(units.values())
    for job in sorted(exact, key=lambda job: (units[job] - exact[job], job))[:left]:
        units[job] += 1
    return units
