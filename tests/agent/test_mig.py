"""Parts of a card: laws first."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.agent.cards import Card
from wattlease.agent.jobs import Holding
from wattlease.agent.mig import IDLE, OTHERS, shares
from wattlease.runtime.lease.report import CardReport

WHOLE = Card("GPU-a", 0, "H100", 200.0, 700.0, 700.0)
SLICED = Card("GPU-a", 0, "H100", 200.0, 700.0, 700.0, (("MIG-1", 3 / 7), ("MIG-2", 2 / 7), ("MIG-3", 1 / 7)))

fracs = st.floats(0.0, 1.0, allow_nan=False)
jobs = st.sampled_from([f"j{n}" for n in range(80)])
replicas = st.none() | st.integers(0, 9).map(str)
slices = st.lists(fracs, max_size=7).map(lambda parts: tuple((f"MIG-{n}", part) for n, part in enumerate(parts)))
devices = st.sampled_from(["GPU-a", "GPU-elsewhere", *(f"MIG-{n}" for n in range(7))])
holdings = st.lists(st.builds(Holding, jobs, devices, replicas), max_size=120)


@settings(max_examples=150, deadline=None)
@given(slices, holdings, st.dictionaries(jobs, fracs, max_size=80), st.randoms(use_true_random=False))
def test_parts_sum_to_the_card_exactly_in_any_order(
    parts: tuple[tuple[str, float], ...], held: list[Holding], busy: dict[str, float], chance: random.Random
) -> None:
    card = Card("GPU-a", 0, "H100", 200.0, 700.0, 700.0, parts)
    told = list(shares(card, held, busy))
    chance.shuffle(told)
    assert sum(share.share_frac for share in told) == 1.0
    assert len({share.job for share in told}) == len(told) <= 64
    assert all(share.estimated for share in told) == (len(told) > 1)


@settings(max_examples=100, deadline=None)
@given(slices, holdings, st.randoms(use_true_random=False))
def test_the_order_of_holdings_does_not_matter(
    parts: tuple[tuple[str, float], ...], held: list[Holding], chance: random.Random
) -> None:
    card = Card("GPU-a", 0, "H100", 200.0, 700.0, 700.0, parts)
    other = held.copy()
    chance.shuffle(other)
    assert shares(card, held) == shares(card, other)


def told(card: Card, *held: Holding, busy: dict[str, float] | None = None) -> dict[str, float]:
    return {share.job: round(share.share_frac, 5) for share in shares(card, held, busy)}


def test_each_mig_instance_repeating_the_whole_gpu() -> None:
    """Named after dcgm-exporter#317, where seven instances showed seven times the card's power."""
    held = (Holding("a", "MIG-1"), Holding("b", "MIG-2"), Holding("c", "MIG-3"))
    parts = shares(SLICED, held)
    assert told(SLICED, *held) == {"a": 0.42857, "b": 0.28571, "c": 0.14286, IDLE: 0.14286}
    assert all(part.estimated for part in parts)
    assert sum(part.share_frac * 612.0 for part in parts) == 612.0


def test_a_whole_card_is_its_jobs_and_no_estimate() -> None:
    (one,) = shares(WHOLE, [Holding("a", "GPU-a"), Holding("a", "GPU-a")])
    assert (one.job, one.share_frac, one.estimated) == ("a", 1.0, False)
    (none,) = shares(WHOLE, [])
    assert (none.job, none.share_frac, none.estimated) == (IDLE, 1.0, False)


def test_replicas_share_equally_or_as_busy_as_they_are() -> None:
    held = [
        Holding("a", "GPU-a", "0"),
        Holding("a", "GPU-a", "1"),
        Holding("b", "GPU-a", "2"),
        Holding("b", "GPU-a", "2"),
    ]
    assert told(WHOLE, *held) == {"a": 0.66667, "b": 0.33333}
    assert told(WHOLE, *held, busy={"a": 0.2, "b": 0.6}) == {"a": 0.25, "b": 0.75}
    assert told(WHOLE, *held, busy={"a": 0.2}) == {"a": 0.66667, "b": 0.33333}
    assert told(WHOLE, *held, busy={"a": 0.0, "b": 0.0}) == {"a": 0.66667, "b": 0.33333}


def test_replicas_of_an_instance_share_that_instance() -> None:
    held = [Holding("a", "MIG-1", "0"), Holding("b", "MIG-1", "1"), Holding("b", "MIG-2")]
    assert told(SLICED, *held) == {"a": 0.21429, "b": 0.5, IDLE: 0.28571}


def test_a_job_on_the_card_itself_has_what_its_instances_leave() -> None:
    assert told(SLICED, Holding("old", "GPU-a"), Holding("a", "MIG-1")) == {"a": 0.42857, IDLE: 0.42857, "old": 0.14286}


def test_a_hundred_replicas_fit_into_a_report() -> None:
    parts = shares(WHOLE, [Holding(f"j{n}", "GPU-a", str(n)) for n in range(100)])
    report = CardReport(
        uuid="GPU-a", index=0, model="H100", age_s=0.0, power_w=1.0, energy_j=None,
        limit_w=1.0, min_w=1.0, max_w=1.0, shares=parts,
    )  # fmt: skip
    assert {share.job: share.share_frac for share in report.shares}[OTHERS] > 0.37
