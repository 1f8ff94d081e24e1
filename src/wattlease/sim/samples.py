"""What the plant tells of itself: the truth of every step, and what became of each job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wattlease.core.model import Floats, Ints

Series = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """True physics, a row for each step that ended at `t_s` (unix seconds).

    `feed_w` is [steps, scopes], `it_w` the cards' draw [steps, series] for the (cluster, kind) pairs of `series`,
    `storage_w` [steps, units] positive when it discharges, `soc_frac` [units] at the end, `node_w` [steps] the draw of
    all nodes together, `work_gpu_s` the work done in the whole span, in GPU-seconds at full speed.
    """

    t_s: Floats
    feed_w: Floats
    series: Series
    it_w: Floats
    storage_w: Floats
    soc_frac: Floats
    node_w: Floats
    work_gpu_s: float


def joined(parts: Sequence[Samples]) -> Samples:
    """The parts one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Samples(
        t_s=np.concatenate([p.t_s for p in parts]),
        feed_w=np.concatenate([p.feed_w for p in parts]),
        series=parts[-1].series,
        it_w=np.concatenate([p.it_w for p in parts]),
        storage_w=np.concatenate([p.storage_w for p in parts]),
        soc_frac=parts[-1].soc_frac,
        node_w=np.concatenate([p.node_w for p in parts]),
        work_gpu_s=sum(p.work_gpu_s for p in parts),
    )


@dataclass(frozen=True, slots=True)
class Tally:
    """Columns of all jobs that were submitted, in order of submission. Unix seconds are NaN where it did not happen.

    `state` is a `JobState`, or 4 for finished. `work_gpu_h` is work done at full-speed equivalents, `lost_gpu_h` what
    pauses threw away. `slowdown` is the time it ran (loading after a resume counts, pauses do not) over the time that
    the same work takes uncapped; NaN for a job without any work. `breach_s` is how long speed x quality was under its
    contract. Latencies are of services only: median and 99th percentile averaged over requests, and the worst one.
    """

    id: tuple[str, ...]
    name: tuple[str, ...]
    owner: tuple[str, ...]
    cluster: tuple[str, ...]
    profile: tuple[str, ...]
    state: Ints
    gpus: Ints
    submitted_s: Floats
    started_s: Floats
    finished_s: Floats
    wait_s: Floats
    running_s: Floats
    paused_s: Floats
    pauses: Ints
    work_gpu_h: Floats
    lost_gpu_h: Floats
    slowdown: Floats
    breach_s: Floats
    energy_j: Floats
    latency_p50_s: Floats
    latency_p99_s: Floats
    latency_worst_s: Floats
