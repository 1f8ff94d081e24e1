"""Laws of the reservations for limits that are known to come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wattlease.core.model import Window
from wattlease_slurm.ahead import Coming, coming, differs

NOW_S, LIMIT_W = 1_746_315_000.0, 100_000.0

windows = st.lists(
    st.tuples(st.integers(-100, 600), st.integers(2, 300), st.integers(0, 120_000), st.sampled_from((0, 1))).map(
        lambda w: Window(w[3], "event", f"e{w[0]}", NOW_S + 60.0 * w[0], NOW_S + 60.0 * (w[0] + w[1]), float(w[2]))
    ),
    max_size=6,
)


def held_w(found: dict[str, Coming], at_s: float) -> int:
    return sum(c.hold_w for c in found.values() if c.start_s <= at_s < c.start_s + c.duration_s)


@given(windows, st.integers(1, 200_000))
def test_at_any_time_the_lowest_limit_that_comes_is_reserved_for_and_nothing_adds_up(
    ahead: list[Window], most_w: int
) -> None:
    found = coming(ahead, NOW_S, LIMIT_W, 1.0, "wattlease", most_w)
    reserved = [w for w in ahead if w.scope == 0 and w.start_s > NOW_S and w.limit_w < LIMIT_W]
    for minute in range(0, 900, 7):
        at_s = NOW_S + 60.0 * minute + 1.0
        lowest = min((w.limit_w for w in reserved if w.start_s <= at_s < w.end_s), default=LIMIT_W)
        assert held_w(found, at_s) <= max(min(most_w, LIMIT_W - lowest), 1.0)


@given(windows)
def test_every_window_that_lowers_the_limit_takes_something_in_all_its_time(ahead: list[Window]) -> None:
    found = coming(ahead, NOW_S, LIMIT_W, 1.0, "wattlease", 1_000_000)
    for window in ahead:
        if window.scope == 0 and window.start_s > NOW_S and window.limit_w < LIMIT_W:
            middle_s = 0.5 * (window.start_s + window.end_s)
            short = window.end_s - window.start_s < 400.0  # what is left of it may be under Slurm's minute
            assert short or any(held_w(found, middle_s + off_s) > 0 for off_s in (0.0, 31.0, 61.0))


def test_the_same_windows_give_the_same_names_from_one_tick_to_the_next() -> None:
    ahead = [Window(0, "event", "grid", NOW_S + 600.0, NOW_S + 2400.0, 70_000.0)]
    one = coming(ahead, NOW_S, LIMIT_W, 0.9, "wattlease", 90_000)
    two = coming(ahead, NOW_S + 1.0, LIMIT_W, 0.9, "wattlease", 90_000)
    assert one == two
    assert [c.hold_w for c in one.values()] == [27_000]


def test_a_reservation_that_holds_too_much_is_always_written_anew_and_one_a_little_low_is_left() -> None:
    there = Coming("wattlease-1", NOW_S, 1800.0, 20_000)
    assert differs(Coming("wattlease-1", NOW_S, 1800.0, 19_999), there)
    assert not differs(Coming("wattlease-1", NOW_S, 1800.0, 20_050), there)
    assert differs(Coming("wattlease-1", NOW_S, 1800.0, 20_500), there)
    assert differs(there, None)
