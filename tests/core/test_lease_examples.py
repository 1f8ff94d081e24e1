"""The lease by example: who may draw what, and what is refused, in the situations that the laws are about."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlease.core.lease import (
    DRIFT_FRAC,
    TTL_S,
    Answer,
    Holder,
    Ledger,
    Listed,
    Member,
    Refused,
    Roster,
    Target,
    allowed_w,
    ask,
    hear,
    lasts_s,
    plain,
    read,
    with_fallback,
)

LIMIT_W, FALLBACK_W, NAMEPLATE_W = 10.0, 1.0, 8.0


def member(name: str, lapses: bool = False, fallback_w: float = FALLBACK_W) -> Member:
    return Member(name=name, fallback_w=fallback_w, nameplate_w=NAMEPLATE_W, lapses=lapses)


def roster_of(*members: Member) -> Roster:
    return Roster(ttl_s=TTL_S, listed=tuple(Listed(member=m, counted_w=m.fallback_w) for m in members))


def leader_of(*members: Member, epoch: int = 1, now_s: float = 0.0, **settings: Any) -> Ledger:
    settings = {"guaranteed_w": 4.0, "leads_until_s": 1e6, **settings}
    return Ledger.begin(epoch, roster_of(*members), now_s, **settings)


def renew(ledger: Ledger, holder: Holder, now_s: float, in_force_w: float | None = None) -> Holder:
    """One round trip in no time; the hardware does what it may, unless told otherwise."""
    holder, request = ask(holder, now_s, allowed_w(holder, now_s) if in_force_w is None else in_force_w)
    answer = ledger.answer(request, now_s)
    assert isinstance(answer, Answer), answer
    holder, refused = hear(holder, answer)
    assert refused is None
    return holder


def settled(lapses: bool = False, **wishes_w: float) -> tuple[Ledger, dict[str, Holder]]:
    """A leader from time 0 and its holders, each renewed until it has its wish, at time 3."""
    ledger = leader_of(*(member(name, lapses) for name in wishes_w))
    holders = {name: Holder(name, "first", FALLBACK_W) for name in wishes_w}
    ledger.plan(targets(**wishes_w), LIMIT_W, 0.0)
    for now_s in (0.0, 1.0, 2.0, 3.0):
        holders = {name: renew(ledger, holder, now_s) for name, holder in holders.items()}
    assert {name: allowed_w(holder, 3.0) for name, holder in holders.items()} == wishes_w
    return ledger, holders


def targets(**wishes_w: float) -> Mapping[str, Target]:
    return {name: Target(watts_w) for name, watts_w in wishes_w.items()}


def test_a_holder_draws_its_grant_until_it_expires_counted_from_when_it_asked_and_then_its_fallback() -> None:
    _, holders = settled(x=6.0, y=4.0)
    assert allowed_w(holders["x"], 3.0 + TTL_S - 0.01) == 6.0
    assert allowed_w(holders["x"], 3.0 + TTL_S) == FALLBACK_W
    assert allowed_w(Holder("x", "second", FALLBACK_W), 3.0) == FALLBACK_W, "a start knows no grant"


def test_the_first_answer_under_a_new_epoch_carries_only_the_epoch() -> None:
    ledger = leader_of(member("x"))
    ledger.plan(targets(x=6.0), LIMIT_W, 0.0)
    holder = renew(ledger, Holder("x", "first", FALLBACK_W), 0.0)
    assert (holder.epoch, holder.grant) == (1, None)
    assert allowed_w(renew(ledger, holder, 1.0), 1.0) == 6.0


def test_nothing_is_raised_until_every_holder_is_heard() -> None:
    ledger = leader_of(member("x"), member("y"), limit_stood=True)
    ledger.plan(targets(x=6.0, y=4.0), LIMIT_W, 0.0)
    x, y = Holder("x", "first", FALLBACK_W), Holder("y", "first", FALLBACK_W)
    for now_s in (0.0, 1.0, 2.0):
        x = renew(ledger, x, now_s)
    assert allowed_w(x, 2.0) == FALLBACK_W
    for now_s in (3.0, 4.0):
        y = renew(ledger, y, now_s)
    assert allowed_w(renew(ledger, x, 5.0), 5.0) == 6.0


def test_nothing_is_raised_until_one_time_to_live_has_passed_if_somebody_stays_silent() -> None:
    ledger = leader_of(member("x", lapses=True), member("y", lapses=True))
    ledger.plan(targets(x=6.0, y=4.0), LIMIT_W, 0.0)
    x = Holder("x", "first", FALLBACK_W)
    for now_s in (0.0, 5.0, lasts_s(TTL_S) - 0.001):
        x = renew(ledger, x, now_s)
        assert allowed_w(x, now_s) == FALLBACK_W
    assert allowed_w(renew(ledger, x, lasts_s(TTL_S)), lasts_s(TTL_S)) == 6.0


def test_watts_are_raised_only_once_their_return_is_acknowledged() -> None:
    ledger, holders = settled(x=6.0, y=4.0)
    ledger.plan(targets(x=3.0, y=7.0), LIMIT_W, 4.0)
    x = renew(ledger, holders["x"], 4.0)
    y = renew(ledger, holders["y"], 4.0)
    assert (allowed_w(x, 4.0), allowed_w(y, 4.0)) == (3.0, 4.0)
    x = renew(ledger, x, 5.0, in_force_w=5.9)  # the hardware is not down yet
    y = renew(ledger, y, 5.0)
    assert allowed_w(y, 5.0) == 4.0
    x = renew(ledger, x, 6.0, in_force_w=3.0)
    assert allowed_w(renew(ledger, y, 6.0), 6.0) == 7.0


def test_hardware_above_its_grant_is_counted_at_what_it_reads_back() -> None:
    ledger, holders = settled(x=6.0, y=3.0)
    renew(ledger, holders["x"], 4.0, in_force_w=6.5)
    assert ledger.committed_w(4.0) == 9.5


def test_a_silent_cluster_returns_its_watts_by_expiry_and_a_silent_node_does_not() -> None:
    later_s = 3.0 + lasts_s(TTL_S)
    clusters, _ = settled(lapses=True, x=6.0, y=4.0)
    nodes, _ = settled(lapses=False, x=6.0, y=4.0)
    assert clusters.committed_w(later_s - 0.001) == nodes.committed_w(later_s - 0.001) == 10.0
    assert clusters.committed_w(later_s) == 2 * FALLBACK_W
    assert nodes.committed_w(later_s) == 10.0
    assert nodes.silent(later_s) == ("x", "y")


def test_a_node_never_heard_counts_at_its_nameplate() -> None:
    ledger = leader_of(member("x"), member("y", lapses=True))
    assert ledger.committed_w(0.0) == 2 * NAMEPLATE_W
    assert ledger.committed_w(lasts_s(TTL_S)) == NAMEPLATE_W + FALLBACK_W


def test_a_second_grantor_is_obeyed_and_the_first_is_not_any_more() -> None:
    first, holders = settled(x=6.0, y=4.0)
    x, request = ask(holders["x"], 4.0, 6.0)
    late = first.answer(request, 4.0)
    second = leader_of(member("x"), member("y"), epoch=2, now_s=4.0)
    second.plan(targets(x=4.0, y=6.0), LIMIT_W, 4.0)
    fence = second.answer(request, 4.0)
    assert isinstance(fence, Answer)
    assert isinstance(late, Answer)
    x, _ = hear(x, fence)
    x, request = ask(x, 5.0, 6.0)
    assert hear(x, late)[1] == Refused("answers request first/5 of x, which is not open")
    forged = late.model_copy(update={"count": request.count})
    assert hear(x, forged)[1] == Refused("epoch 1 is over: 2 has been seen")
    assert first.answer(request, 5.0) == Refused("x has seen epoch 2, later than 1")
    assert allowed_w(x, 5.0) == 6.0, "the fence takes nothing away"


def test_a_paused_grantor_that_comes_back_answers_nothing() -> None:
    ledger, holders = settled(x=6.0, y=4.0)
    ledger.lead_until(20.0)
    _, request = ask(holders["x"], 4.0, 6.0)
    woken_s = 20.0
    assert ledger.answer(request, woken_s) == Refused("epoch 1 leads from 0.0 until 20.0, not 20.0")
    ledger.lead_until(40.0)
    assert isinstance(ledger.answer(request, woken_s), Answer)


def test_a_grantor_whose_predecessor_may_still_lead_answers_nothing_yet() -> None:
    ledger = leader_of(member("x"), leads_from_s=5.0)
    _, request = ask(Holder("x", "first", FALLBACK_W), 0.0, FALLBACK_W)
    assert isinstance(ledger.answer(request, 4.9), Refused)
    assert isinstance(ledger.answer(request, 5.0), Answer)


@given(st.floats(1.0, 1.0 + DRIFT_FRAC), st.floats(1.0, 1.0 + DRIFT_FRAC), st.floats(0.0, 5.0))
def test_with_clocks_that_drift_within_the_bound_the_holder_gives_up_first(
    holder_rate: float, grantor_rate: float, travel_s: float
) -> None:
    ledger = leader_of(member("x", lapses=True))
    ledger.plan(targets(x=6.0), LIMIT_W, 0.0)
    holder = renew(ledger, Holder("x", "first", FALLBACK_W), 0.0)
    sent_s = 1.0
    holder, request = ask(holder, sent_s * holder_rate, FALLBACK_W)
    answer = ledger.answer(request, (sent_s + travel_s) * grantor_rate)
    assert isinstance(answer, Answer)
    holder, _ = hear(holder, answer)
    given_up_s = holder.expires_s / holder_rate
    assert allowed_w(holder, given_up_s * holder_rate + 1e-9) == FALLBACK_W
    assert ledger.liability_w("x", (given_up_s - 1e-9) * grantor_rate) == 6.0


def test_without_the_drift_margin_a_slow_holder_would_outlast_its_grantors_count() -> None:
    ledger = leader_of(member("x", lapses=True), drift_frac=0.0)
    ledger.plan(targets(x=6.0), LIMIT_W, 0.0)
    holder = renew(ledger, renew(ledger, Holder("x", "first", FALLBACK_W), 0.0), 0.0)
    true_s = TTL_S * (1.0 - DRIFT_FRAC / 2)
    assert allowed_w(holder, true_s) == 6.0
    assert ledger.liability_w("x", true_s * (1.0 + DRIFT_FRAC)) == FALLBACK_W


def test_a_limit_that_falls_cuts_the_wishes_that_no_longer_fit_and_holds_within_one_time_to_live() -> None:
    ledger, holders = settled(lapses=True, x=6.0, y=4.0)
    assert ledger.plan(targets(x=6.0, y=4.0), 6.0, 4.0) == 0.0
    assert allowed_w(renew(ledger, holders["x"], 4.0), 4.0) == 1.0 + 5.0 * 4.0 / 8.0
    assert ledger.offer_w("y", 4.0) == 1.0 + 3.0 * 4.0 / 8.0
    assert ledger.committed_w(4.0 + lasts_s(TTL_S)) <= 6.0


def test_a_plan_that_swings_while_too_much_is_out_renews_neither_side() -> None:
    ledger, holders = settled(lapses=True, x=5.0, y=5.0)
    ledger.plan(targets(x=5.0, y=1.0), 6.0, 4.0)
    renew(ledger, holders["x"], 4.0)
    ledger.plan(targets(x=1.0, y=5.0), 6.0, 5.0)
    assert allowed_w(renew(ledger, holders["y"], 5.0), 5.0) == FALLBACK_W


def test_a_plan_says_by_how_much_even_the_least_does_not_fit() -> None:
    ledger, _ = settled(x=6.0, y=4.0)
    assert ledger.plan({}, 0.5, 4.0) == 1.5
    with pytest.raises(ValueError, match="finite"):
        ledger.plan(targets(x=float("nan")), LIMIT_W, 4.0)


@pytest.mark.parametrize(("stood", "renewed_w"), [(True, 6.0), (False, None)])
def test_a_new_leader_renews_before_all_are_heard_only_if_the_limit_has_stood(
    stood: bool, renewed_w: float | None
) -> None:
    _, holders = settled(x=6.0, y=4.0)
    ledger = leader_of(member("x"), member("y"), epoch=2, now_s=4.0, limit_stood=stood)
    ledger.plan(targets(x=8.0, y=2.0), LIMIT_W, 4.0)
    x = renew(ledger, renew(ledger, holders["x"], 4.0), 5.0)
    assert (x.grant.watts_w if x.grant and x.grant.epoch == 2 else None) == renewed_w


def test_a_new_member_is_granted_nothing_before_it_is_on_disk() -> None:
    ledger, _ = settled(x=6.0)
    ledger.enrol(member("y"), 4.0)
    ledger.plan(targets(x=2.0, y=4.0), LIMIT_W, 4.0)
    y = renew(ledger, renew(ledger, Holder("y", "first", FALLBACK_W), 4.0), 5.0)
    assert y.grant is None
    ledger.note_saved(ledger.revision)
    assert renew(ledger, y, 6.0).grant is not None


def test_the_old_and_the_new_fallback_count_until_the_new_one_is_acknowledged_from_disk() -> None:
    ledger, holders = settled(x=6.0, y=4.0)
    ledger.enrol(member("x", fallback_w=0.5), 4.0)
    ledger.note_saved(ledger.revision)
    x = renew(ledger, holders["x"], 4.0)
    x = renew(ledger, x, 5.0)  # heard, but a restart would still find the old one
    assert ledger.roster().listed[0].counted_w == FALLBACK_W
    renew(ledger, with_fallback(x, 0.5), 6.0)
    assert ledger.roster().listed[0].counted_w == 0.5


def test_a_higher_fallback_is_not_sent_before_its_watts_are_free() -> None:
    ledger, holders = settled(x=9.0 - NAMEPLATE_W, y=NAMEPLATE_W)
    ledger.plan(targets(x=1.0, y=8.0), 9.0, 4.0)
    ledger.enrol(member("x", fallback_w=3.0), 4.0)
    ledger.note_saved(ledger.revision)
    assert ledger.committed_w(4.0) == 11.0
    assert ledger.offer_w("x", 4.0) is None
    ledger.plan(targets(x=3.0, y=6.0), 9.0, 4.0)
    renew(ledger, renew(ledger, holders["y"], 4.0), 5.0)
    assert ledger.offer_w("x", 5.0) == 3.0


def test_a_holder_that_reports_a_higher_fallback_is_counted_at_it_once_that_is_on_disk() -> None:
    ledger, _ = settled(x=6.0)
    x = renew(ledger, Holder("x", "second", 2.0, epoch=1), 4.0)
    assert ledger.roster().listed[0].counted_w == 2.0
    assert x.grant is None
    ledger.note_saved(ledger.revision)
    x = renew(ledger, x, 5.0)
    assert x.grant is not None
    renew(ledger, with_fallback(x, x.grant.fallback_w), 6.0)
    assert ledger.roster().listed[0].counted_w == FALLBACK_W


def test_the_shortfall_is_by_how_much_the_fallbacks_do_not_fit_in_what_is_guaranteed() -> None:
    members = [member(name) for name in "abcde"]
    assert leader_of(*members, guaranteed_w=5.0).fallback_shortfall_w() == 0.0
    assert leader_of(*members, guaranteed_w=4.2).fallback_shortfall_w() == pytest.approx(0.8)


def test_a_dismissed_member_counts_until_its_last_grant_is_over_and_is_answered_no_more() -> None:
    ledger, holders = settled(x=6.0, y=4.0)
    ledger.dismiss("x", 4.0)
    _, request = ask(holders["x"], 5.0, 6.0)
    assert ledger.answer(request, 5.0) == Refused("x is no member; enrol it")
    assert ledger.committed_w(3.0 + lasts_s(TTL_S) - 0.001) == 10.0
    assert [listed.leaving for listed in ledger.roster().listed] == [True, False]
    assert ledger.committed_w(3.0 + lasts_s(TTL_S)) == 4.0
    assert [listed.member.name for listed in ledger.roster().listed] == ["y"]


def test_no_node_keeps_a_grant_that_its_cluster_could_not_renew() -> None:
    site, clusters = settled(lapses=True, east=6.0)
    east = clusters["east"]
    inner = leader_of(member("n1", fallback_w=0.5), member("n2", fallback_w=0.5), guaranteed_w=FALLBACK_W)
    inner.plan(targets(n1=3.0, n2=3.0), allowed_w(east, 3.0), 3.0, until_s=east.expires_s)
    nodes = {name: Holder(name, "first", 0.5) for name in ("n1", "n2")}
    for now_s in (3.0, 4.0, 5.0, 12.0):
        nodes = {name: renew(inner, node, now_s) for name, node in nodes.items()}
    slowest = 1.0 + DRIFT_FRAC
    assert all(12.0 + (node.expires_s - 12.0) * slowest <= east.expires_s for node in nodes.values())
    assert sum(allowed_w(node, 12.5) for node in nodes.values()) == 6.0
    over_s = east.expires_s
    assert sum(allowed_w(node, over_s) for node in nodes.values()) == FALLBACK_W
    nodes = {name: renew(inner, node, over_s) for name, node in nodes.items()}
    assert sum(allowed_w(node, over_s) for node in nodes.values()) == FALLBACK_W
    assert site.committed_w(3.0 + lasts_s(TTL_S)) == FALLBACK_W


def test_the_caps_are_lowered_by_what_the_grant_lacks() -> None:
    ledger, holders = settled(x=4.0, y=6.0)
    ledger.plan({"x": Target(8.0, (3.0, 3.0)), "y": Target(2.0)}, LIMIT_W, 4.0)
    x = renew(ledger, holders["x"], 4.0)
    assert x.grant is not None
    assert (x.grant.watts_w, x.grant.caps_w) == (4.0, (1.0, 1.0))


def test_older_requests_and_grants_never_given_are_not_believed() -> None:
    ledger, holders = settled(x=6.0)
    _, request = ask(holders["x"], 4.0, 6.0)
    ledger.answer(request, 4.0)
    assert ledger.answer(request, 4.0) == Refused("request 5 of x comes after 5")
    boast = request.model_copy(update={"count": 6, "acknowledged": (1, 99)})
    assert ledger.answer(boast, 4.0) == Refused("x acknowledges grant 99; 4 is the last one given")


def test_a_holder_takes_no_grant_older_than_its_own_nor_one_from_before_the_fence() -> None:
    ledger, holders = settled(x=6.0)
    x, request = ask(holders["x"], 4.0, 6.0)
    answer = ledger.answer(request, 4.0)
    assert isinstance(answer, Answer)
    assert answer.grant is not None
    older = answer.model_copy(update={"grant": answer.grant.model_copy(update={"sequence": 1})})
    sooner = answer.model_copy(update={"epoch": 2, "grant": answer.grant.model_copy(update={"epoch": 2})})
    assert hear(x, older) == (x, Refused("grant 1/1 is not newer than 1/3"))
    assert hear(x, sooner) == (x, Refused("a grant under epoch 2, which this holder had not seen when it asked"))
    assert hear(replace(x, name="z"), answer)[1] is not None


def test_everything_survives_json_and_goes_on_as_before() -> None:
    ledger, holders = settled(x=6.0, y=4.0)
    x, request = ask(holders["x"], 4.0, 6.0)
    answer = ledger.answer(request, 4.0)
    assert isinstance(answer, Answer)
    for value in (x, request, answer, answer.grant, ledger.roster(), ledger):
        assert read(type(value), json.loads(json.dumps(plain(value)))) == value
    again = read(Ledger, plain(ledger))
    assert isinstance(again, Ledger)
    _, request = ask(holders["y"], 5.0, 4.0)
    assert again.answer(request, 5.0) == ledger.answer(request, 5.0)
