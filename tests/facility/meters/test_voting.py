"""Laws of the vote."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wattlease.facility.voting import Ballot, tolerance_w, vote

watts = st.floats(-1e8, 1e8, allow_nan=False)


def ballots(powers: list[float]) -> list[Ballot]:
    return [Ballot(f"m{i}", w) for i, w in enumerate(powers)]


@given(st.lists(watts, min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_the_vote_is_one_of_the_readings_whatever_their_order(powers: list[float], random: st.DrawFn) -> None:
    cast = ballots(powers)
    held = vote(cast)
    random.shuffle(cast)  # type: ignore[attr-defined]
    assert held is not None
    assert held == vote(cast)
    assert held.power_w in powers


@given(st.lists(watts, min_size=1, max_size=7), st.integers(0, 6), st.floats(0, 1e8))
def test_a_higher_reading_never_lowers_the_vote(powers: list[float], which: int, more_w: float) -> None:
    before = vote(ballots(powers))
    powers[which % len(powers)] += more_w
    after = vote(ballots(powers))
    assert before is not None
    assert after is not None
    assert after.power_w >= before.power_w


@given(watts, st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), watts)
def test_one_liar_among_three_moves_nothing_beyond_the_honest(true_w: float, a: float, b: float, lie_w: float) -> None:
    honest = [true_w + part * tolerance_w(true_w) / 2 for part in (a, b)]
    held = vote(ballots([*honest, lie_w]))
    assert held is not None
    assert min(honest) <= held.power_w <= max(honest)
    if abs(lie_w - true_w) > 3 * tolerance_w(true_w) + 1:
        assert held.outvoted == ("m2",)


@given(watts, watts)
def test_of_two_the_higher_is_taken_and_a_disagreement_is_said(one_w: float, other_w: float) -> None:
    held = vote(ballots([one_w, other_w]))
    assert held is not None
    assert held.power_w == max(one_w, other_w)
    assert held.outvoted == ()
    assert bool(held.why) == (abs(one_w - other_w) > tolerance_w(held.power_w))


def test_nobody_votes_nothing_and_one_is_believed_alone() -> None:
    assert vote([]) is None
    alone = vote([Ballot("feed", 8200.0)])
    assert alone is not None
    assert (alone.power_w, alone.why) == (8200.0, "")


def test_a_disagreement_names_both_and_the_one_that_is_taken() -> None:
    held = vote([Ballot("ups", 7000.0), Ballot("feed", 8200.0)])
    assert held is not None
    assert held.why == "feed reads 8.20 kW and ups 7.00 kW; the higher is taken"
