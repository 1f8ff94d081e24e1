"""The law of a card's standing: what it is counted at is never less than what its hardware may hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.agent.cards import Card, CardReading, Trouble
from wattlease.agent.standing import RETRY_S, Standing, first_sight, forgiven, seen, sending, sent, silent

CARD = Card("GPU-0", 0, "H100", 200.0, 700.0, 700.0)
HUNG = Trouble("no answer", lost=True, hung=True)
GONE = Trouble("lost", lost=True)


def reading(limit_w: float, energy_j: float | None = None, enforced_w: float | None = None) -> CardReading:
    return CardReading(300.0, None, energy_j, limit_w, limit_w if enforced_w is None else enforced_w, None, 0)


def settled(limit_w: float, energy_j: float | None = None) -> Standing:
    """A card that was asked for this and took it."""
    standing = seen(first_sight(CARD), reading(700.0, energy_j), 0.0)
    return seen(sent(sending(standing, limit_w), None), reading(limit_w, energy_j), 0.0)


@dataclass
class Hardware:
    """A card that takes, refuses or delays writes, and forgets its limit when its driver is loaded anew."""

    limit_w: float = 700.0
    late_w: list[float] = field(default_factory=list)

    def write(self, standing: Standing, limit_w: float, how: str) -> Standing:
        standing = sending(standing, limit_w)
        if how == "hangs":
            self.late_w.append(limit_w)
            return sent(standing, HUNG)
        if how == "refuses":
            return sent(standing, Trouble("no permission"))
        self.limit_w = limit_w
        return sent(standing, None)

    def come_back(self) -> None:
        for limit_w in self.late_w:
            self.limit_w = limit_w
        self.late_w.clear()


steps = st.lists(
    st.tuples(
        st.sampled_from(["takes", "refuses", "hangs", "reads", "late", "reloads"]),
        st.floats(200.0, 700.0),
    ),
    max_size=30,
)


@given(steps)
@settings(max_examples=300)
def test_a_card_counts_at_least_at_what_its_hardware_holds(schedule: list[tuple[str, float]]) -> None:
    hardware, standing = Hardware(), first_sight(CARD)
    for now_s, (step, limit_w) in enumerate(schedule):
        out = bool(hardware.late_w)  # while a call is out the card is called by nobody
        if step == "late":
            hardware.come_back()
        elif step == "reloads" and not out:
            hardware.limit_w = CARD.default_w
            standing = silent(standing, GONE)
        elif step == "reads" and not out:
            standing = seen(standing, reading(hardware.limit_w), float(now_s))
            assert standing.most_w == hardware.limit_w
        elif step in ("takes", "refuses", "hangs") and not out:
            standing = hardware.write(standing, limit_w, step)
        assert standing.most_w >= max([hardware.limit_w, *hardware.late_w])


def test_someone_else_s_limit_is_counted_once_with_its_value() -> None:
    standing = seen(settled(400.0), reading(650.0), 1.0)
    again = seen(standing, reading(650.0), 2.0)
    assert (again.foreign_writes, again.foreign_w, again.most_w) == (1, 650.0, 650.0)
    assert not again.is_asked(400.0)


def test_limits_that_a_reloaded_driver_forgot_are_nobody_s_writes() -> None:
    by_energy = seen(settled(400.0, 5000.0), reading(700.0, 3.0), 1.0)
    by_absence = seen(silent(settled(400.0), GONE), reading(700.0), 1.0)
    for standing in (by_energy, by_absence):
        assert (standing.foreign_writes, standing.reloads) == (0, 1)
        assert not standing.is_asked(400.0)


def test_a_default_limit_that_someone_set_is_their_write() -> None:
    standing = seen(settled(400.0, 5000.0), reading(700.0, 5001.0), 1.0)
    assert (standing.foreign_writes, standing.reloads) == (1, 0)


def test_an_out_of_band_limit_is_no_foreign_write_and_frees_nothing() -> None:
    standing = seen(settled(400.0), reading(400.0, enforced_w=300.0), 1.0)
    assert (standing.foreign_writes, standing.most_w) == (0, 400.0)


def test_a_card_that_takes_more_than_asked_is_asked_for_that_much_less() -> None:
    standing = seen(first_sight(CARD), reading(700.0), 0.0)
    standing = seen(sent(sending(standing, standing.asking_for(400.0)), None), reading(425.0), 0.0)
    assert (standing.adjusted, standing.extra_w, standing.floor_w) == (1, 25.0, 225.0)
    assert standing.asking_for(400.0) == 375.0
    standing = seen(sent(sending(standing, 375.0), None), reading(400.0), 1.0)
    assert (standing.missed, standing.extra_w, standing.is_asked(400.0)) == (0, 25.0, True)
    assert forgiven(standing, RETRY_S + 2.0).extra_w == 0.0


def test_a_write_that_hung_is_asked_for_again() -> None:
    standing = sent(sending(settled(500.0), 300.0), HUNG)
    assert (standing.most_w, standing.answers) == (500.0, False)
    back = seen(standing, reading(500.0), 9.0)
    assert back.answers
    assert not back.is_asked(300.0)


def test_a_lost_card_may_be_back_at_its_default() -> None:
    assert silent(settled(400.0), HUNG).most_w == 400.0
    assert silent(settled(400.0), GONE).most_w == 700.0
