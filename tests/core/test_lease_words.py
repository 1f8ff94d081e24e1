"""What grantor and holder say: refused when malformed, and said quickly."""

from time import perf_counter

import pytest

from wattlease.core.lease import (
    Answer,
    Grant,
    Holder,
    Ledger,
    Listed,
    Member,
    Refused,
    Request,
    Roster,
    Target,
    allowed_w,
    ask,
    hear,
    read,
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("watts_w", float("nan")),
        ("watts_w", float("inf")),
        ("watts_w", -1.0),
        ("watts_w", "6"),
        ("watts_w", True),
        ("fallback_w", 99.0),
        ("ttl_s", 0.0),
        ("epoch", 1.5),
        ("sequence", -1),
        ("sequence", 2**70),
        ("holder", ""),
        ("caps_w", [float("nan")]),
        ("caps_w", [1.0] * 5000),
        ("caps_w", None),
    ],
)
def test_a_malformed_grant_is_refused_with_what_and_where(field: str, value: object) -> None:
    good = {"holder": "x", "epoch": 1, "sequence": 1, "watts_w": 6, "fallback_w": 1.0, "ttl_s": 10.0, "caps_w": [1.0]}
    assert isinstance(read(Grant, good), Grant)
    refused = read(Grant, good | {field: value})
    assert isinstance(refused, Refused)
    assert field in refused.reason


@pytest.mark.parametrize("data", [None, [], "x", {}, {"holder": "x"}, {1: 2}])
def test_what_is_no_message_at_all_is_refused(data: object) -> None:
    assert isinstance(read(Request, data), Refused)


def test_an_answer_takes_no_longer_for_the_number_of_members() -> None:
    few_s, many_s = answer_s(100), answer_s(2_500)
    print(f"one answer: {few_s * 1e6:.1f} us among 100 members, {many_s * 1e6:.1f} us among 2,500")
    assert many_s < 10.0 * few_s, "25 times the members, and only the processor's caches may notice"


def answer_s(count: int) -> float:
    """The least time per answer over ten rounds of renewals by nodes of eight cards."""
    members = [Member(name=f"n{i}", fallback_w=1.0, nameplate_w=8.0) for i in range(count)]
    roster = Roster(ttl_s=10.0, listed=tuple(Listed(member=member, counted_w=1.0) for member in members))
    ledger = Ledger.begin(1, roster, 0.0, guaranteed_w=1.0 * count, leads_until_s=1e6)
    ledger.plan({member.name: Target(6.0, (0.7,) * 8) for member in members}, 6.0 * count, 0.0)
    holders, rounds_s = [Holder(member.name, "first", 1.0) for member in members], []
    for now_s in range(12):
        asked = [ask(holder, float(now_s), 1.0) for holder in holders]
        begun_s = perf_counter()
        answers = [ledger.answer(request, float(now_s)) for _, request in asked]
        rounds_s.append((perf_counter() - begun_s) / count)
        pairs = zip(asked, answers, strict=True)
        holders = [hear(holder, answer)[0] for (holder, _), answer in pairs if isinstance(answer, Answer)]
    assert {allowed_w(holder, 11.0) for holder in holders} == {6.0}
    return min(rounds_s[2:])
