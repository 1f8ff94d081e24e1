"""Services: requests in, latency out. A fluid queue with the M/M/c wait of Sakasegawa.

Each replica serves `batch` requests at once, so a service is `c = replicas x batch` servers. One request takes S
seconds at full speed, S / v at speed v. Utilisation is rho = rate S / (c v). The wait of a stable queue is
S / (v c) x rho^(sqrt(2 (c + 1)) - 1) / (1 - rho); what comes beyond capacity queues up as a fluid and waits until it is
worked off. Service and wait are taken as exponential: the median is ln 2 and the 99th percentile ln 100 times the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wattlease.core.model import Floats
from wattlease.sim.arrivals import Entry
from wattlease.sim.traces import Rates, azure_rates, data_folder, servegen_rates

IDLE_LEVEL = 0.35
"""Demand of a service without requests against one that is full: the model stays resident, batches are empty."""

STABLE = 0.995
"""Utilisation from which the stationary wait is no longer asked: the fluid queue has it then."""

_LN2, _LN100 = float(np.log(2.0)), float(np.log(100.0))


class Service:
    """One service's queue."""

    def __init__(self, entry: Entry, rates: Rates) -> None:
        spec = entry.serving
        assert spec is not None
        self.service_s = spec.service_seconds
        self.servers = max(1, entry.gpus // spec.gpus_per_replica) * spec.batch
        self.rates = rates
        self.scale = spec.peak_percent / 100 * self.servers / self.service_s / _peak(rates)
        self.queue = 0.0
        self.requests = self.p50_sum = self.p99_sum = 0.0
        self.p99_worst_s = 0.0

    def rate(self, t_s: float) -> float:
        """Requests a second at this time after the start."""
        return self.rates.at(t_s) * self.scale

    def level(self, t_s: float, speed: float) -> float:
        """Demand against a service that is full."""
        use = 1.0 if self.queue > 1.0 else min(1.0, self.rate(t_s) * self.service_s / (self.servers * max(speed, 1e-6)))
        return IDLE_LEVEL + (1.0 - IDLE_LEVEL) * use

    def run(self, t_s: float, dt_s: float, speed: float) -> tuple[float, float]:
        """Serve for a while; the throughput kept (1: all that came), and uncapped latency over latency."""
        rate, capacity = self.rate(t_s), self.servers * speed / self.service_s
        served = min(rate + self.queue / dt_s, capacity)
        self.queue = max(0.0, self.queue + (rate - served) * dt_s)
        fluid_s = self.queue / max(capacity, 1e-9)
        alone_s, wait_s = self.service_s / max(speed, 1e-6), self._wait_s(rate, speed)
        mean_s = alone_s + wait_s + fluid_s
        self._note(rate * dt_s, _LN2 * (alone_s + wait_s) + fluid_s, _LN100 * (alone_s + wait_s) + fluid_s)
        usual_s = self.service_s + self._wait_s(rate, 1.0)
        return (1.0 if rate <= 0 else min(1.0, served / rate)), min(1.0, usual_s / mean_s)

    def latency_s(self) -> tuple[float, float, float]:
        """Median and 99th percentile, each averaged over requests, and the worst 99th percentile; NaN without any."""
        if self.requests <= 0:
            return np.nan, np.nan, np.nan
        return self.p50_sum / self.requests, self.p99_sum / self.requests, self.p99_worst_s

    def _wait_s(self, rate: float, speed: float) -> float:
        alone_s = self.service_s / max(speed, 1e-6)
        use = min(STABLE, rate * alone_s / self.servers)
        return float(alone_s / self.servers * use ** (np.sqrt(2.0 * (self.servers + 1)) - 1) / (1.0 - use))

    def _note(self, requests: float, p50_s: float, p99_s: float) -> None:
        self.requests += requests
        self.p50_sum += p50_s * requests
        self.p99_sum += p99_s * requests
        self.p99_worst_s = max(self.p99_worst_s, p99_s)


def services(entries: Sequence[Entry], data: str) -> dict[int, Service]:
    """The services among the jobs, by the job's index."""
    return {i: Service(e, _rates(e.serving.trace, data)) for i, e in enumerate(entries) if e.serving}


def _rates(trace: str, data: str) -> Rates:
    if trace == "constant":
        return Rates(60.0, np.ones(1))
    return azure_rates(data_folder(data)) if trace == "azure" else servegen_rates(data_folder(data))


def _peak(rates: Rates) -> float:
    """The highest five-minute mean of the series."""
    width = max(1, round(300.0 / rates.step_s))
    means: Floats = np.convolve(rates.per_s, np.full(width, 1.0 / width), mode="valid")
    return float(max(means.max(initial=0.0), rates.per_s.mean(), 1e-9))
