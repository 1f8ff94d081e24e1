"""What each job's owner agreed to, from the PowerProfiles, as terms of the core; jobs that agree alike share them.

A profile with a namespace is for jobs of that namespace; one without, from the static file, is for all. A job may name
its profile by the annotation or label `wattlease.io/profile`. Else the most specific selector that takes it wins, and
of equals the name that comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from wattlease.core import terms as core_terms
from wattlease.core.api import PowerProfile
from wattlease.core.model import Step, Terms
from wattlease_operator.gathering import KubeJob
from wattlease_operator.resizing import smaller
from wattlease_operator.swaps import swaps_of
from wattlease_operator.words import PROFILE

MOST_TERMS = 256
"""More than this, and the terms of jobs that have gone are forgotten."""

MOST_KEPT = 65_536
"""Jobs whose profile is remembered for as long as they stay unchanged."""


class Agreements:
    """Agreements by job. `terms` is another tuple whenever a job agrees to something new."""

    def __init__(self) -> None:
        self.agree(())

    def agree(self, profiles: tuple[PowerProfile, ...]) -> None:
        """Hold to these profiles from now on."""
        self._profiles = profiles
        self._swaps = swaps_of(profiles)
        self._by_name = {(p.metadata.namespace, p.name): p for p in profiles}
        self._withheld: frozenset[str] = frozenset()
        self._unbound: frozenset[str] = frozenset()
        self._written = {id(profile): core_terms.terms_of(profile) for profile in profiles}
        self._by_job: dict[str, tuple[KubeJob, Terms]] = {}
        self._shared: dict[Terms, Terms] = {}
        self._place: dict[Terms, int] = {}
        self.terms: tuple[Terms, ...] = (Terms(name="default"),)

    def of(self, job: KubeJob) -> Terms:
        """What holds for it."""
        seen = self._by_job.get(job.id)
        if seen is None or seen[0] is not job:
            if len(self._by_job) >= MOST_KEPT:
                self._by_job.clear()
                self._shared.clear()
            terms = self._read(job)
            seen = self._by_job[job.id] = job, self._shared.setdefault(terms, terms)
        return seen[1]

    def withhold(self, jobs: frozenset[str], unbound: frozenset[str] = frozenset()) -> None:
        """Take smaller models, and fewer GPUs, from these jobs' terms, and fewer replicas from those of the `unbound`,
        until they are no longer among them."""
        for job in (jobs ^ self._withheld) | (unbound ^ self._unbound):
            self._by_job.pop(job, None)
        self._withheld, self._unbound = jobs, unbound

    def _read(self, job: KubeJob) -> Terms:
        swap = self._swaps.get(job.id)
        profile = self._by_name[swap.namespace, swap.profile] if swap else profile_of(job, self._profiles)
        terms = self._written[id(profile)] if profile else Terms(name="default")
        if profile and profile.spec.swap and (swap is None or job.id in self._withheld):
            terms = replace(terms, variants=())
        if not job.pausable or (
            job.work and job.suspendable and job.work.resumed_by_others
        ):  # nothing pauses it, or someone undid that
            terms = replace(terms, pausable=False, stoppable=False)
        offered = not terms.variants and (job.shrunk_from or job.id not in self._withheld)
        if offered and (fewer := smaller(job, terms)):
            terms = replace(terms, variants=(fewer,))
        least = 0 if job.id in self._unbound else least_replicas(job)
        if least and not terms.steps:
            share = least / len(job.alive)
            terms = replace(terms, steps=(Step(batch_frac=share, draw_frac=share, speed_frac=share),))
        return terms

    def take(self, wanted: Iterable[Terms]) -> None:
        """Have a place for each of these."""
        live = dict.fromkeys({id(terms): terms for terms in wanted}.values())
        if all(terms in self._place for terms in live):
            return
        kept = self.terms if len(self.terms) + len(live) <= MOST_TERMS else ()
        self.terms = tuple(dict.fromkeys((*kept, *live)))
        self._place = {terms: i for i, terms in enumerate(self.terms)}

    def place(self, terms: Terms) -> int:
        """Where in `terms` these are."""
        return self._place[terms]


def least_replicas(job: KubeJob) -> int:
    """How many replicas its autoscaler may be held to, 0 where it has none to spare or KEDA is in charge."""
    scaler = job.scaler
    if scaler is None or scaler.keda or job.kind == "LeaderWorkerSet":
        return 0
    least = max(scaler.least, 1)
    return least if least < len(job.alive) else 0


def profile_of(job: KubeJob, profiles: Sequence[PowerProfile]) -> PowerProfile | None:
    """The one that the job names, else the most specific that selects it."""
    open_to = [p for p in profiles if p.metadata.namespace in (None, job.namespace)]
    if name := job.annotations.get(PROFILE) or job.labels.get(PROFILE):
        named = sorted((p for p in open_to if p.name == name), key=lambda p: p.metadata.namespace is None)
        if named:
            return named[0]
    selecting = [p for p in open_to if _selects(p, job)]
    return min(selecting, key=lambda p: (*(-n for n in _specific(p, job)), p.name), default=None)


def _selects(profile: PowerProfile, job: KubeJob) -> bool:
    """Every line that is written matches; partitions are Slurm's own."""
    chosen = profile.spec.selector
    written = chosen.match_labels or chosen.names or chosen.owners
    return (
        bool(written)
        and not chosen.partitions
        and _carries(job.labels, chosen.match_labels)
        and _any(chosen.names, job.top[2])
        and _any(chosen.owners, job.namespace)
    )


def _specific(profile: PowerProfile, job: KubeJob) -> tuple[int, ...]:
    """More is more specific: its own name, then its namespace's profile, then labels, a pattern of names, owners."""
    chosen = profile.spec.selector
    return (
        int(job.top[2] in chosen.names),
        int(profile.metadata.namespace is not None),
        len(chosen.match_labels),
        int(bool(chosen.names)),
        int(bool(chosen.owners)),
    )


def _carries(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())


def _any(patterns: Sequence[str], name: str) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
