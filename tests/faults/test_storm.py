"""Random faults at random times on random targets; WATTLEASE_STORM_SECONDS=600 for ten minutes of them."""

from __future__ import annotations

import os
import time
from random import Random, SystemRandom

import pytest
from fault_site import NewSite
from fault_storm import KINDS, storm

SPAN_S = float(os.environ.get("WATTLEASE_STORM_SECONDS", "40"))
SEED = int(os.environ.get("WATTLEASE_STORM_SEED", "0")) or SystemRandom().randrange(1, 2**31)


@pytest.mark.timeout(SPAN_S + 240)
def test_no_storm_of_faults_brings_the_site_above_its_limit(new_site: NewSite) -> None:
    print(f"WATTLEASE_STORM_SEED={SEED} for {SPAN_S:g} s")
    site = new_site()
    site.start()
    site.lends_to(0, 1)
    begun_s = time.monotonic()
    with site.under_limit():
        came = storm(site, SPAN_S, Random(SEED))
    hardware = site.hardware
    samples = [sample for sample in hardware.samples if sample.at_s >= begun_s]
    print(f"{len(samples)} samples, {sum(came.values())} faults: {dict(sorted(came.items()))}")
    worst = max(hardware.counted_w(s) / s.limit_w for s in samples)
    raised = [s.sum_w > s.limit_w for s in samples]
    longest = max((len(run) for run in "".join(" x"[over] for over in raised).split()), default=0)
    print(f"at most {worst:.4f} of the limit; above it while hardware had raised itself: {sum(raised)} samples,")
    print(f"the longest {longest} in a row, at most {max(s.sum_w / s.limit_w for s in samples):.3f} of the limit")
    assert len(came) >= min(len(KINDS), SPAN_S / 20)
    site.grants_to(2, 3)
