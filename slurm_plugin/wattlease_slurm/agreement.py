"""What holds between a site and a job: tables, profile and the job's own wishes, laid over each other and bounded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Any

from wattlease.core import terms as core_terms
from wattlease.core.api import PowerProfile
from wattlease.core.model import Terms
from wattlease_slurm.tables import Permits, Tables
from wattlease_slurm.wishes import Checkpoint, Wishes, overlaid
from wattlease_slurm.words import SlurmJob

PERMITTED = Permits(protected=False, not_pausable=True, least_slowdown_percent=0.0, most_weight=1.0)
"""What a job may wish where no table says so."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A job's terms, how it is stopped and shrunk, and what of its wishes was not granted, in sentences."""

    terms: Terms
    checkpoint: Checkpoint | None = None
    requeue: bool = False
    min_nodes: int | None = None
    told: tuple[str, ...] = ()


def agreed(job: SlurmJob, profiles: Sequence[PowerProfile], tables: Tables, wishes: Wishes) -> Agreement:
    """What holds for a job: default < partition < account < QOS < profile < its own wishes, as far as permitted."""
    lines = list(tables.lines(job.partition, job.account, job.qos))
    site = overlaid(*(line.wishes for line in lines))
    profile, unknown = _profile(job, profiles, site, wishes)
    site = overlaid(site, _written(profile)) if profile else site
    own, bounded = _bounded(wishes, site, _permits(line.permits for line in lines))
    said = overlaid(site, own)
    base = core_terms.terms_of(profile) if profile else Terms("default")
    return Agreement(
        replace(base, **{name: value for name in _TERMS if (value := getattr(said, name)) is not None}),
        said.checkpoint,
        bool(said.requeue),
        said.min_nodes,
        (*unknown, *bounded),
    )


def terms_of(job: SlurmJob, profiles: Sequence[PowerProfile], tables: Tables, wishes: Wishes) -> Terms:
    """The terms alone."""
    return agreed(job, profiles, tables, wishes).terms


_TERMS = tuple(sorted({f.name for f in fields(Wishes)} & {f.name for f in fields(Terms)}))


def _profile(
    job: SlurmJob, profiles: Sequence[PowerProfile], site: Wishes, wishes: Wishes
) -> tuple[PowerProfile | None, tuple[str, ...]]:
    """The one that the job names, else the first whose selector takes it, else that of the tables."""
    named = next((p for p in profiles if p.name == wishes.profile and _open_to(job, p)), None)
    if named:
        return named, ()
    told = (f"profile={wishes.profile}: no such profile, or not for this user, account or partition",)
    selected = next((p for p in profiles if _selects(job, p)), None)
    found = selected or next((p for p in profiles if p.name == site.profile), None)
    return found, told if wishes.profile else ()


def _selects(job: SlurmJob, profile: PowerProfile) -> bool:
    names = profile.spec.selector.names
    written = names or profile.spec.selector.owners or profile.spec.selector.partitions
    return bool(written) and _any(names, (job.name,)) and _open_to(job, profile)


def _open_to(job: SlurmJob, profile: PowerProfile) -> bool:
    """Labels are Kubernetes' own: a profile that asks for some is for no Slurm job."""
    chosen = profile.spec.selector
    mine = _any(chosen.owners, (job.user, job.account)) and _any(chosen.partitions, job.partition.split(","))
    return mine and not chosen.match_labels


def _any(patterns: Sequence[str], names: Iterable[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for name in names if name for pattern in patterns)


def _written(profile: PowerProfile) -> Wishes:
    """What a profile's author wrote, as wishes; what he left out says nothing against a table."""
    terms, spec = core_terms.terms_of(profile), profile.spec
    checkpoint = spec.checkpoint.model_fields_set if "checkpoint" in spec.model_fields_set else set()
    said = {_FIELDS.get(name, name) for name in spec.model_fields_set | checkpoint}
    values: dict[str, Any] = {name: getattr(terms, name) for name in _TERMS if name in said}
    return Wishes(**values)


_FIELDS = {
    "value_per_gpu_hour": "value_per_gpu_h",
    "max_slowdown_percent": "max_slowdown_frac",
    "batch_steps": "steps",
    "every_seconds": "checkpoint_every_s",
    "restart_seconds": "restart_s",
}


def _permits(lines: Iterable[Permits]) -> Permits:
    said = {name: value for line in (PERMITTED, *lines) for name, value in line if value is not None}
    return Permits(**said)


def _bounded(own: Wishes, site: Wishes, permits: Permits) -> tuple[Wishes, tuple[str, ...]]:
    """The job's own wishes as far as the site lets them go, and what was cut."""
    default = Terms("default")
    most = {
        "weight": max(permits.most_weight or 0.0, site.weight or 0.0),
        "value_per_gpu_h": max(
            permits.most_value_per_gpu_hour or 0.0,
            default.value_per_gpu_h if site.value_per_gpu_h is None else site.value_per_gpu_h,
        ),
    }
    cut: dict[str, Any] = {}
    for name, bound in most.items():
        wished = getattr(own, name)
        if wished is not None and wished > bound:
            cut[name] = bound
    least = (permits.least_slowdown_percent or 0.0) / 100
    if own.max_slowdown_frac is not None and own.max_slowdown_frac < least:
        cut["max_slowdown_frac"] = least
    if own.protected and not permits.protected and not site.protected:
        cut["protected"] = None
    if own.pausable is False and not permits.not_pausable and site.pausable is not False:
        cut["pausable"] = None
    return replace(own, **cut), tuple(_told(name, value) for name, value in cut.items())


def _told(name: str, value: float | None) -> str:
    words = {"value_per_gpu_h": "value", "max_slowdown_frac": "max-slowdown", "pausable": "not-pausable"}
    word = words.get(name, name)
    if value is None:
        return f"{word}: the site does not permit it here"
    return f"{word}: the site permits {value * (100 if name.endswith('_frac') else 1):g} here"
