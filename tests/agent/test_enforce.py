"""The laws of sharing a node's watts among its cards, and of the order in which limits are written."""

from __future__ import annotations

from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlease.agent.enforce import SLACK_W, Overhead, Seat, share_out, within_room

watts = st.floats(0.0, 1000.0, allow_nan=False)


@st.composite
def seats(draw: st.DrawFn) -> Seat:
    floor_w, ceiling_w = sorted((draw(watts), draw(watts)))
    return Seat(floor_w, ceiling_w, draw(watts), draw(st.booleans()))


nodes = st.lists(seats(), min_size=1, max_size=8)
allowed = st.floats(0.0, 9000.0, allow_nan=False)


def caps_of(node: list[Seat]) -> st.SearchStrategy[list[float]]:
    return st.lists(watts, min_size=len(node), max_size=len(node))


@given(st.data(), nodes, allowed)
def test_limits_fit_or_all_that_move_stand_at_their_floors(
    data: st.DataObject, node: list[Seat], cards_w: float
) -> None:
    shares = share_out(node, cards_w, data.draw(caps_of(node)))
    if shares.shortfall_w > 0.0:
        least_w = fsum(seat.floor_w if seat.moves else seat.most_w for seat in node)
        assert shares.shortfall_w == pytest.approx(least_w - cards_w, abs=1e-6)
        assert all(limit_w == seat.floor_w for seat, limit_w in zip(node, shares.limits_w, strict=True) if seat.moves)
    else:
        assert fsum(shares.limits_w) <= cards_w + 1e-9


@given(st.data(), nodes, allowed)
def test_no_limit_leaves_its_card_s_range_or_passes_its_cap(
    data: st.DataObject, node: list[Seat], cards_w: float
) -> None:
    caps_w = data.draw(caps_of(node))
    for seat, cap_w, limit_w in zip(node, caps_w, share_out(node, cards_w, caps_w).limits_w, strict=True):
        if seat.moves:
            assert seat.floor_w <= limit_w <= seat.ceiling_w + 1e-9
            assert limit_w <= max(cap_w, seat.floor_w) + 1e-9
        else:
            assert limit_w == seat.most_w


@given(st.data(), nodes, allowed, st.floats(0.0, 500.0))
def test_less_allowed_lowers_every_card_and_raises_none(
    data: st.DataObject, node: list[Seat], cards_w: float, less_w: float
) -> None:
    caps_w = data.draw(caps_of(node))
    more, less = share_out(node, cards_w, caps_w), share_out(node, max(0.0, cards_w - less_w), caps_w)
    assert all(low_w <= high_w + 1e-9 for low_w, high_w in zip(less.limits_w, more.limits_w, strict=True))
    assert less.shortfall_w >= more.shortfall_w


@given(st.data(), nodes, allowed)
def test_all_give_up_the_same_share_above_their_floors(data: st.DataObject, node: list[Seat], cards_w: float) -> None:
    caps_w = data.draw(caps_of(node))
    fracs = [
        (limit_w - seat.floor_w) / (wish_w - seat.floor_w)
        for seat, cap_w, limit_w in zip(node, caps_w, share_out(node, cards_w, caps_w).limits_w, strict=True)
        if seat.moves and (wish_w := min(max(cap_w, seat.floor_w), seat.ceiling_w)) > seat.floor_w + 1.0
    ]
    assert not fracs or max(fracs) - min(fracs) < 1e-6


@given(st.data(), nodes, allowed)
def test_the_order_of_cards_does_not_matter(data: st.DataObject, node: list[Seat], cards_w: float) -> None:
    caps_w = data.draw(caps_of(node))
    order = data.draw(st.permutations(range(len(node))))
    plain = share_out(node, cards_w, caps_w).limits_w
    mixed = share_out([node[n] for n in order], cards_w, [caps_w[n] for n in order]).limits_w
    assert mixed == pytest.approx([plain[n] for n in order])


@given(nodes, allowed)
def test_raises_never_pass_what_was_returned(node: list[Seat], cards_w: float) -> None:
    limits_w = share_out(node, cards_w).limits_w
    raised_w = within_room(node, limits_w, cards_w)
    most_w = [max(seat.most_w, limit_w) for seat, limit_w in zip(node, raised_w, strict=True)]
    assert fsum(most_w) <= max(cards_w, fsum(seat.most_w for seat in node)) + 1e-9
    assert all(now_w <= plan_w + 1e-9 for now_w, plan_w in zip(raised_w, limits_w, strict=True))


def test_caps_that_do_not_belong_to_these_cards_are_as_none() -> None:
    node = [Seat(100.0, 400.0, 400.0)] * 2
    assert share_out(node, 600.0, (400.0,)) == share_out(node, 600.0)
    assert share_out(node, 600.0).limits_w == pytest.approx((300.0, 300.0), abs=SLACK_W)


def test_a_card_that_does_not_obey_makes_the_others_give_way() -> None:
    node = [Seat(100.0, 400.0, 400.0, moves=False), Seat(100.0, 400.0, 400.0), Seat(100.0, 400.0, 400.0)]
    assert share_out(node, 800.0).limits_w == pytest.approx((400.0, 200.0, 200.0), abs=SLACK_W)
    assert share_out(node, 550.0).limits_w == (400.0, 100.0, 100.0)
    assert share_out(node, 550.0).shortfall_w == 50.0


@given(st.floats(0.0, 2000.0), st.floats(0.0, 0.5), st.floats(0.0, 20_000.0))
def test_cards_within_their_watts_keep_the_node_within_its_own(constant_w: float, frac: float, node_w: float) -> None:
    overhead = Overhead(constant_w, frac)
    cards_w = overhead.cards_w(node_w)
    if cards_w >= SLACK_W:
        assert overhead.node_w(cards_w - SLACK_W) <= node_w


def test_a_node_s_watts_are_whole_microwatts_so_that_equal_sums_are_equal() -> None:
    assert Overhead(800.0, 0.1).node_w(fsum([0.1] * 3)) == 800.33
