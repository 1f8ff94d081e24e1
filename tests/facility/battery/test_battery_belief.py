"""What is believed of a battery, second by second, without one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.core.model import StorageUnit
from wattlease.facility.battery.belief import USUAL, Belief, heard, limited, ordered, silent, storage, why_not
from wattlease.facility.battery.wear import Kept
from wattlease.facility.battery.witness import WRONG, Scene, Witness
from wattlease.facility.battery.words import BatteryReading, ChargeState, Ordered, Trouble

UNIT = StorageUnit("pack", 0, 3.6e7, 1e4, 1e4, reserve_frac=0.2, round_trip_frac=0.81)
WELL = BatteryReading(soc_frac=0.6, soh_frac=0.9, power_w=0.0, is_ac=True)


def lived(belief: Belief, *seconds: tuple[float, BatteryReading], start_s: float = 0.0) -> Belief:
    """The belief after these seconds of an order in force and a reading."""
    for i, (order_w, reading) in enumerate(seconds):
        belief = heard(belief, reading, start_s + i, USUAL, checks_sign=True)
        if not why_not(belief, start_s + i, USUAL):
            belief = ordered(belief, Ordered(order_w), start_s + i, USUAL)
    return belief


def giving(power_w: float, soc_frac: float = 0.6, **more: object) -> BatteryReading:
    return replace(WELL, power_w=power_w, soc_frac=soc_frac, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (WELL, ""),
        (replace(WELL, is_local=True), "local control"),
        (replace(WELL, soc_frac=math.nan), "state of charge"),
        (replace(WELL, fault="its converter reports a fault"), "fault"),
    ],
)
def test_a_battery_that_cannot_work_says_why(reading: BatteryReading, reason: str) -> None:
    why = why_not(lived(Belief(UNIT), (0.0, reading)), 0.0, USUAL)
    assert reason in why
    assert bool(why) == bool(reason)


@settings(max_examples=100, deadline=None)
@given(silent_s=st.floats(0.0, 60.0), power_w=st.floats(-1e4, 1e4))
def test_what_a_battery_does_that_is_not_heard_nobody_knows(silent_s: float, power_w: float) -> None:
    belief = silent(lived(Belief(UNIT), (0.0, giving(power_w))), Trouble("no answer", lost=True))
    state = storage(belief, silent_s, USUAL)
    assert state.available == (silent_s <= USUAL.lost_s)
    assert state.power_w == pytest.approx(power_w if state.available else math.nan, nan_ok=True)
    assert state.age_s == silent_s


@pytest.mark.parametrize("reading", [replace(giving(700.0), is_local=True), replace(giving(700.0), fault="hot")])
def test_what_a_battery_that_is_left_out_gives_all_the_same_counts_as_measured(reading: BatteryReading) -> None:
    state = storage(lived(Belief(UNIT), (0.0, reading)), 0.0, USUAL)
    assert not state.available
    assert state.power_w == 700.0


@pytest.mark.parametrize(("power_w", "counts_w"), [(700.0, math.nan), (20.0, 20.0)])
def test_the_word_of_a_battery_that_lied_counts_only_where_its_sign_does_not_matter(
    power_w: float, counts_w: float
) -> None:
    state = storage(replace(lived(Belief(UNIT), (0.0, giving(power_w))), lie="charges"), 0.0, USUAL)
    assert not state.available
    assert state.power_w == pytest.approx(counts_w, nan_ok=True)


@pytest.mark.parametrize("soc_frac", [60.0, -0.1])
def test_a_charge_that_cannot_be_is_not_told(soc_frac: float) -> None:
    belief = lived(Belief(UNIT), (0.0, giving(0.0, soc_frac=soc_frac)))
    assert "state of charge" in why_not(belief, 0.0, USUAL)


def test_a_power_that_cannot_be_counts_as_ordered() -> None:
    belief = lived(Belief(UNIT), (5e3, giving(5e3)), (5e3, giving(5e5)))
    assert storage(belief, 1.0, USUAL).power_w == 5e3
    assert belief.kept.discharged_joules == 5e3


def test_doing_the_opposite_is_a_lie_and_stays_one() -> None:
    belief = lived(Belief(UNIT), *[(5e3, giving(0.0))] * 2, *[(5e3, giving(-5e3))] * 10)
    assert "charges at 5000 W when ordered the opposite" in belief.lie
    assert why_not(lived(belief, (0.0, WELL), start_s=1e5), 1e5, USUAL) == belief.lie


def test_what_comes_nearer_is_no_lie_however_slowly() -> None:
    belief = lived(Belief(UNIT), *[(5e3, giving(-1e4 + 100.0 * s)) for s in range(90)])
    assert not belief.lie


def test_a_sign_that_is_not_to_be_checked_is_not() -> None:
    belief = Belief(UNIT)
    for s in range(20):
        belief = heard(belief, giving(-5e3), float(s), USUAL, checks_sign=False)
        belief = ordered(belief, Ordered(5e3), float(s), USUAL)
    assert not belief.lie


def test_a_sign_that_the_standard_leaves_open_proves_nothing() -> None:
    belief = lived(Belief(UNIT), *[(5e3, giving(-5e3, is_ac=False))] * 20)
    assert not belief.lie


def test_where_it_ran_dry_it_is_believed_empty() -> None:
    dry = giving(0.0, soc_frac=0.4)
    belief = lived(Belief(UNIT), *[(5e3, giving(5e3, soc_frac=0.4))] * 3, *[(5e3, dry)] * 5)
    assert belief.kept.empty_at_frac == 0.4
    assert storage(belief, 8.0, USUAL).soc_frac == 0.0
    charged = lived(belief, (0.0, giving(0.0, soc_frac=0.7)), start_s=9.0)
    assert storage(charged, 9.0, USUAL).soc_frac == pytest.approx(0.3), "only what was added is there"


def test_what_is_given_below_where_it_ran_dry_proves_that_it_was_not_empty() -> None:
    belief = Belief(UNIT, Kept(empty_at_frac=0.4))
    assert lived(belief, *[(5e3, giving(5e3, soc_frac=0.35))] * 3).kept.empty_at_frac == 0.35


def test_a_battery_that_says_it_is_empty_is_believed_at_once() -> None:
    belief = lived(Belief(UNIT), *[(5e3, giving(0.0, soc_frac=0.3, state=ChargeState.EMPTY))] * 6)
    assert belief.kept.empty_at_frac == 0.3


def test_a_converter_that_sleeps_is_given_time_and_then_left_out() -> None:
    belief = lived(Belief(UNIT), *[(5e3, giving(0.0))] * 60)
    assert not why_not(belief, 59.0, USUAL)
    belief = lived(belief, *[(5e3, giving(0.0))] * 2, start_s=60.0)
    assert "has given 0 W of 5000 W" in why_not(belief, 61.0, USUAL)
    assert belief.kept.empty_at_frac == 0.0
    assert not why_not(lived(belief, (0.0, WELL), start_s=200.0), 200.0, USUAL), "it is tried again"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(0.0, 1.0)), max_size=40),
)
def test_believed_charge_is_never_more_than_told_and_never_below_nothing(
    seconds: list[tuple[float, float, float]],
) -> None:
    belief = Belief(UNIT)
    for i, (order_w, power_w, soc_frac) in enumerate(seconds):
        belief = lived(belief, (order_w, giving(power_w, soc_frac=soc_frac)), start_s=float(i))
        assert 0.0 <= storage(belief, float(i), USUAL).soc_frac <= soc_frac


def test_a_heart_that_stands_still_is_not_alive() -> None:
    belief = lived(Belief(UNIT), *[(0.0, replace(WELL, beat=min(s, 3))) for s in range(12)])
    assert not why_not(belief, 11.0, USUAL)
    belief = lived(belief, *[(0.0, replace(WELL, beat=3))] * 3, start_s=12.0)
    assert "heartbeat has stood still" in why_not(belief, 14.0, USUAL)
    assert not why_not(lived(Belief(UNIT), *[(0.0, replace(WELL, beat=0))] * 60), 59.0, USUAL), "it has none"


def test_its_own_limits_narrow_and_never_widen() -> None:
    low = lived(Belief(UNIT), (0.0, replace(WELL, max_charge_w=2e3, max_discharge_w=5e4)))
    assert (limited(low).max_charge_w, limited(low).max_discharge_w) == (2e3, 1e4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=30))
def test_wear_is_the_energy_that_went_through(powers_w: list[float]) -> None:
    belief = lived(Belief(UNIT), *[(0.0, giving(w)) for w in powers_w])
    kept = Kept.model_validate_json(belief.kept.model_dump_json(by_alias=True))
    assert kept.discharged_joules == pytest.approx(sum(max(w, 0.0) for w in powers_w[:-1]))
    assert kept.charged_joules == pytest.approx(sum(max(-w, 0.0) for w in powers_w[:-1]))
    assert kept.cycles(UNIT) == pytest.approx(kept.discharged_joules / 0.9 / UNIT.capacity_j)
    assert kept.throughput_kwh == pytest.approx(sum(map(abs, powers_w[:-1])) / 3.6e6)


def test_nothing_wears_while_nobody_looked() -> None:
    belief = lived(Belief(UNIT), (0.0, giving(5e3)))
    assert lived(belief, (0.0, giving(5e3)), start_s=3600.0).kept == Kept()


# --- the AC meter as a witness ---


def changes(witness: Witness, feed_follows: float, times: int) -> Witness:
    """The plan turns the battery up and down; the feed changes by this part of it."""
    for i in range(times):
        more_w, at_s = (4e3 if i % 2 == 0 else -4e3), 100.0 * i
        before = Scene(at_s, 5e4, 0.0)
        after = Scene(at_s + USUAL.look_s, 5e4 + feed_follows * more_w, more_w)
        witness = witness.began(before).looked(replace(before, at_s=at_s + 1.0), 15.0, 500.0).looked(after, 15.0, 500.0)
    return witness


def test_a_feed_that_rises_with_discharge_again_and_again_is_a_lie() -> None:
    assert not changes(Witness(), 1.0, WRONG - 1).lie
    assert "the feed rose" in changes(Witness(), 1.0, WRONG).lie


def test_a_feed_that_falls_with_discharge_clears_it() -> None:
    once = changes(changes(Witness(), 1.0, WRONG - 1), -1.0, 1)
    assert not changes(once, 1.0, WRONG - 1).lie


def test_a_feed_that_tells_nothing_changes_nothing() -> None:
    assert changes(Witness(wrong=2), 0.1, 5) == Witness(wrong=2)
