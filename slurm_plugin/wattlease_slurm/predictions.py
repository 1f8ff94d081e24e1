"""What the core learned of jobs' draw, under the keys of the verdict file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wattlease.core.estimate import SETTLED_S
from wattlease.core.memory import Memory
from wattlease.core.model import JobState, Site, Snapshot
from wattlease_slurm.verdict import draw_key


def types_of(site: Site, gpu_models: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The GRES types under which each card model goes; its own name in lower case is one."""
    found: dict[str, tuple[str, ...]] = {model.name: (model.name.lower(),) for model in site.models}
    for kind, model in gpu_models.items():
        for name in found:
            if name.lower() == model.lower():
                found[name] = (*found[name], kind.lower())
    return found


def rated_w(site: Site, types: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    """Rated watts by type, and the most of all for a type that nobody knows."""
    known = {kind: model.rated_w for model in site.models for kind in types[model.name]}
    return {**known, "*": max(known.values())}


def draws_w(snapshot: Snapshot, memory: Memory, types: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    """Watts of one GPU by user, name and type, the newest first: of runs that ended and of those that go on."""
    found: dict[str, float] = {}
    for owner, stem, card, watts in (*_running(snapshot, memory), *_ended(memory)):
        for kind in types.get(card, (card.lower(),)):
            found.setdefault(draw_key(owner, stem, kind), watts)
    return found


def _running(snapshot: Snapshot, memory: Memory) -> Iterator[tuple[str, str, str, float]]:
    """Jobs that have run for long enough to say something, by name and for their owner's others."""
    jobs = snapshot.jobs
    ran_s = dict(zip(memory.jobs.id, memory.jobs.ran_s.tolist(), strict=True))
    full_w = dict(zip(memory.jobs.id, memory.jobs.full_w.tolist(), strict=True))
    for j, name in enumerate(jobs.id):
        if jobs.state[j] == JobState.RUNNING and ran_s.get(name, 0.0) >= SETTLED_S:
            yield jobs.owner[j], jobs.name[j], snapshot.site.models[int(jobs.model[j])].name, full_w[name]


def _ended(memory: Memory) -> Iterator[tuple[str, str, str, float]]:
    """What the history holds: keys are `user/name/CARDxSIZE` and `user/*/CARD`; those of no user say nothing here."""
    for key, seen in sorted(memory.history.items(), key=lambda item: -item[1].last_s):
        owner, _, rest = key.partition("/")
        stem, _, card = rest.rpartition("/")
        if owner != "*":
            yield owner, stem, card.rpartition("x")[0] if stem != "*" else card, seen.mean_w + seen.spread_w
