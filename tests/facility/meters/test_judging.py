"""What a meter's own past says about its next reading."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wattlease.core.api import Meter
from wattlease.facility.meters.judging import FROZEN_S, GONE_S, KEEP_S, Past, Verdict, judged

TOP_W = 20_000.0


def meter(**more: object) -> Meter:
    return Meter.model_validate({"name": "feed", "kind": "Virtual"} | more)


def heard(past: Past, powers: list[float], start_s: float = 0.0, which: Meter | None = None) -> float:
    """Readings a second apart; the time of the last."""
    for i, power_w in enumerate(powers):
        past.hear(start_s + i, power_w, which or meter(), TOP_W)
    return start_s + len(powers) - 1


def verdict(past: Past, now_s: float, *others: Past, which: Meter | None = None) -> Verdict:
    return judged(past, 0.0, now_s, which or meter(), others)


moves = st.lists(st.floats(0.7, 1.4), min_size=1, max_size=60)


@given(st.floats(2000, 6000), moves)
def test_a_load_that_moves_as_loads_do_is_always_believed(start_w: float, factors: list[float]) -> None:
    past, power_w = Past(), start_w
    for second, factor in enumerate(factors):
        power_w = min(max(power_w * factor, 1500.0), 12_000.0)
        past.hear(second, power_w, meter(), TOP_W)
        assert verdict(past, second).state == "Good"


@given(st.lists(st.floats(-3e4, 3e4, allow_nan=False), min_size=1, max_size=80))
def test_what_is_outside_the_range_is_never_believed(powers: list[float]) -> None:
    past = Past()
    for second, power_w in enumerate(powers):
        past.hear(second, power_w, meter(), TOP_W)
        if not 0 <= power_w <= TOP_W:
            assert verdict(past, second).state in ("Implausible", "Flipped")


@given(st.lists(st.floats(0, 2e4, allow_nan=False), min_size=1, max_size=300))
def test_the_past_stays_bounded(powers: list[float]) -> None:
    past = Past()
    heard(past, powers)
    assert len(past.every) <= KEEP_S + 1


def test_the_same_sample_again_is_no_new_reading() -> None:
    past = Past()
    heard(past, [8000.0, 8100.0])
    past.hear(1.0, 0.0, meter(), TOP_W)
    assert past.every[-1] == (1.0, 8100.0)


def test_a_value_that_stands_still_is_frozen_only_while_others_move() -> None:
    frozen, calm, lively = Past(), Past(), Past()
    for second in range(int(FROZEN_S) + 2):
        frozen.hear(second, 8000.0, meter(), TOP_W)
        calm.hear(second, 7900.0 + second % 2, meter(), TOP_W)
        lively.hear(second, 7000.0 + 30 * second, meter(), TOP_W)
    now_s = FROZEN_S + 1
    assert verdict(frozen, now_s, calm).state == "Good"
    assert verdict(frozen, now_s).state == "Good"
    assert verdict(frozen, now_s, lively).state == "Frozen"
    frozen.hear(now_s + 1, 8010.0, meter(), TOP_W)
    assert verdict(frozen, now_s + 1, lively).state == "Good"


def test_a_fall_to_nothing_is_believed_only_when_it_lasts() -> None:
    past = Past()
    now_s = heard(past, [8000.0 + i for i in range(20)])
    now_s = heard(past, [0.0] * int(GONE_S), now_s + 1)
    assert verdict(past, now_s).state == "Jumped"
    now_s = heard(past, [0.0] * 2, now_s + 1)
    assert verdict(past, now_s).state == "Good"


def test_a_spike_is_believed_at_the_second_look() -> None:
    past = Past()
    now_s = heard(past, [2000.0 + i for i in range(20)])
    now_s = heard(past, [9000.0], now_s + 1)
    assert verdict(past, now_s).state == "Jumped"
    now_s = heard(past, [2010.0], now_s + 1)
    assert verdict(past, now_s).state == "Good"
    now_s = heard(past, [9000.0, 9050.0], now_s + 1)
    assert verdict(past, now_s).state == "Good"


def test_a_turned_sign_is_not_believed_however_long_it_lasts_even_where_export_is_lawful() -> None:
    exports = meter(minWatts=-15_000)
    past = Past()
    now_s = heard(past, [8000.0 + i for i in range(20)], which=exports)
    now_s = heard(past, [-8010.0 - 20 * i for i in range(100)], now_s + 1, exports)
    assert verdict(past, now_s, which=exports).state == "Flipped"
    now_s = heard(past, [8200.0], now_s + 1, exports)
    assert verdict(past, now_s, which=exports).state == "Good"


def test_a_site_that_really_exports_goes_there_by_steps_and_is_believed() -> None:
    exports = meter(minWatts=-15_000)
    past = Past()
    now_s = heard(past, [8000.0 - 400 * i for i in range(40)], which=exports)
    assert verdict(past, now_s, which=exports).state == "Good"
    assert past.every[-1][1] < -7000


def test_an_old_reading_is_stale_and_none_at_all_is_unread() -> None:
    past = Past()
    assert verdict(past, 0.0).state == "Unread"
    heard(past, [8000.0])
    assert judged(past, 10.5, 10.5, meter(), ()).state == "Stale"
    assert judged(past, 10.5, 10.5, meter(delaySeconds=1), ()).state == "Good"
