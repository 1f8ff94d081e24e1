"""Laws of the licences that stay free."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wattlease_slurm.room import LEAST_FRAC, LEAST_W, Holder, room

watts = st.integers(0, 100_000)
holders = st.lists(st.tuples(watts, st.none() | watts), max_size=12).map(
    lambda pairs: [Holder(f"{i}", has_w, wants_w) for i, (has_w, wants_w) in enumerate(pairs)]
)


def used_w(held: list[Holder], licences: dict[str, int]) -> int:
    return sum(licences.get(h.job, h.has_w) for h in held)


@given(holders, st.floats(0, 200_000), st.integers(1, 2_000_000), st.integers(0, 12))
def test_what_stays_free_is_what_was_opened_and_never_more(
    held: list[Holder], open_w: float, total_w: int, most: int
) -> None:
    found = room(total_w, held, open_w, most)
    free_w = total_w - found.hold_w - used_w(held, dict(found.licences))
    assert 1 <= found.hold_w <= total_w
    assert free_w <= open_w
    if 1 < found.hold_w < total_w:
        assert open_w - 1 < free_w


@given(holders, st.integers(0, 12))
def test_no_more_licences_are_changed_than_may_be_and_those_furthest_off_come_first(
    held: list[Holder], most: int
) -> None:
    found = room(1_000_000, held, 0.0, most)
    assert len(found.licences) <= most
    off_w = {h.job: abs(h.wants_w - h.has_w) for h in held if h.wants_w is not None}
    left = [w for job, w in off_w.items() if job not in found.licences]
    if len(found.licences) == most > 0 and left:
        least_changed = min(off_w[job] for job in found.licences)
        assert all(w <= least_changed or w <= max(LEAST_W, LEAST_FRAC * 100_000) for w in left)


@given(holders)
def test_licences_that_are_not_ours_or_are_right_are_left(held: list[Holder]) -> None:
    found = room(1_000_000, held, 0.0, len(held))
    for holder in held:
        if holder.wants_w is None or abs(holder.wants_w - holder.has_w) <= LEAST_W:
            assert holder.job not in found.licences


@given(holders.flatmap(lambda held: st.tuples(st.just(held), st.permutations(held))), st.integers(0, 12))
def test_the_order_of_jobs_does_not_matter(pair: tuple[list[Holder], list[Holder]], most: int) -> None:
    assert room(500_000, pair[0], 1000.0, most) == room(500_000, pair[1], 1000.0, most)
