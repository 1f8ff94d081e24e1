"""A node's GPUs held to what is allowed, whatever happens to them: on virtual cards and through NVML's binding."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlease.agent.card_report import card_report
from wattlease.agent.cards import CardReading, Trouble
from wattlease.agent.enforce import Overhead
from wattlease.agent.hands import Hands
from wattlease.agent.originals import Originals
from wattlease.agent.virtual import Virtual
from wattlease.agent.virtual_state import VirtualCard, VirtualState

PATIENCE_S = 0.4
HANG_S = 4.0
"""Longer than what hangs may hold up, on a machine that does other things too."""

CARDS = tuple(VirtualCard(f"GPU-{n}", "Virtual H100", 200.0, 700.0, 700.0, 75.0) for n in range(4))
OVERHEAD = Overhead(400.0, 0.1)
ALLOWED_W = 400.0 + 1.1 * 4 * 450.0
Machine = Any
Make = Callable[..., Hands]


@pytest.fixture
def take(tmp_path: Path) -> Make:
    """Takes a machine's cards in hand, as an agent that starts; again, as one that starts after it."""

    def make(machine: Machine, **others: Any) -> Hands:
        originals = Originals(tmp_path / "state" / "originals.json")
        return Hands(machine.driver, originals, OVERHEAD, patience_s=PATIENCE_S, **others)

    return make


def enforced_w(machine: Machine) -> float:
    """What the hardware lets the node draw now."""
    return OVERHEAD.node_w(float(np.sum(machine.state.enforced_w())))


def wait_until_back(hands: Hands) -> None:
    """Look as an agent does, until every card answers."""
    ends_s = time.monotonic() + HANG_S + 10.0
    while any(card.trouble for card in hands.look()):
        assert time.monotonic() < ends_s
        time.sleep(0.02)


def test_limits_follow_the_caps_and_fit_what_is_allowed(machine: Machine, take: Make) -> None:
    hands = take(machine)
    outcome = hands.hold(ALLOWED_W, (300.0, 500.0, 250.0, 650.0))
    assert machine.limits_w() == [300.0, 500.0, 250.0, 650.0]
    assert outcome.in_force_w == enforced_w(machine) == OVERHEAD.node_w(1700.0) <= ALLOWED_W
    assert (outcome.shortfall_w, outcome.troubles) == (0.0, ())


def test_without_caps_the_cards_share_what_is_allowed(machine: Machine, take: Make) -> None:
    outcome = take(machine).hold(ALLOWED_W)
    assert machine.limits_w() == pytest.approx([450.0] * 4, abs=0.003)
    assert outcome.in_force_w <= ALLOWED_W


def test_floors_that_do_not_fit_are_told_with_the_number(machine: Machine, take: Make) -> None:
    hands = take(machine)
    outcome = hands.hold(400.0 + 1.1 * 700.0)
    assert machine.limits_w() == [200.0] * 4
    assert outcome.shortfall_w == pytest.approx(110.0, abs=0.01)
    assert outcome.in_force_w == hands.floor_w == OVERHEAD.node_w(800.0)


def test_holding_the_same_again_writes_nothing(machine: Machine, take: Make) -> None:
    hands = take(machine)
    hands.hold(ALLOWED_W, (300.0, 500.0, 250.0, 650.0))
    before = machine.state.cards["set_calls"].tolist()
    for _ in range(3):
        hands.look()
        hands.hold(ALLOWED_W, (300.0, 500.0, 250.0, 650.0))
    assert machine.state.cards["set_calls"].tolist() == before


def test_lowers_are_written_before_raises(machine: Machine, take: Make) -> None:
    hands = take(machine)
    hands.hold(ALLOWED_W, (250.0, 650.0, 250.0, 650.0))
    sums_w: list[float] = []
    limit = machine.driver.limit

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(machine.driver, name)

        def limit(self, uuid: str, limit_w: float) -> Any:
            told = limit(uuid, limit_w)
            sums_w.append(enforced_w(machine))
            return told

    other = Hands(Watched(), Originals(hands._originals.path), OVERHEAD, patience_s=PATIENCE_S)
    other.hold(ALLOWED_W, (650.0, 250.0, 650.0, 250.0))
    assert machine.limits_w() == pytest.approx([650.0, 250.0, 650.0, 250.0], abs=0.01)
    assert len(sums_w) == 4
    assert max(sums_w) <= ALLOWED_W


def test_a_foreign_raise_is_lowered_at_the_next_glance_and_counted(machine: Machine, take: Make) -> None:
    hands = take(machine)
    hands.hold(ALLOWED_W)
    steps: tuple[Callable[[], object], ...] = (hands.look, hands.watch, hands.watch)
    for count, step in enumerate(steps, start=1):
        machine.state.write_limit(2, 690.0)
        step()
        assert enforced_w(machine) <= ALLOWED_W
        assert hands.counts.foreign_writes == count
        assert hands.standings[2].foreign_w == 690.0


def test_a_foreign_lower_is_raised_by_the_next_hold_only(machine: Machine, take: Make) -> None:
    hands = take(machine)
    hands.hold(ALLOWED_W)
    held_w = machine.limits_w()
    machine.state.write_limit(1, 220.0)
    hands.look()
    hands.watch()
    hands.fall(ALLOWED_W)
    assert machine.limits_w()[1] == 220.0
    hands.hold(ALLOWED_W)
    assert machine.limits_w() == pytest.approx(held_w, abs=0.002)
    assert (hands.counts.foreign_writes, hands.standings[1].foreign_w) == (1, 220.0)


def test_an_out_of_band_limit_is_left_alone(machine: Machine, take: Make) -> None:
    hands = take(machine)
    hands.hold(ALLOWED_W, (450.0,) * 4)
    machine.state.cards["bmc_mw"][0] = 300_000
    hands.look()
    outcome = hands.hold(ALLOWED_W, (450.0,) * 4)
    assert outcome.in_force_w <= ALLOWED_W
    assert hands.counts.foreign_writes == 0
    assert isinstance(reading := hands.standings[0].reading, CardReading)
    assert reading.enforced_w == 300.0


def test_limits_that_a_driver_forgot_are_set_again_by_the_next_look(machine: Machine, take: Make) -> None:
    hands = take(machine)
    hands.hold(ALLOWED_W)
    machine.state.play(np.full(4, 400.0), 1.0)
    hands.look()
    machine.state.reload_driver()
    assert enforced_w(machine) > ALLOWED_W
    hands.look()
    assert enforced_w(machine) <= ALLOWED_W
    assert (hands.counts.reloads, hands.counts.foreign_writes) == (1, 0)


def test_while_the_driver_is_gone_its_cards_count_at_their_default(machine: Machine, take: Make) -> None:
    hands = take(machine)
    hands.hold(ALLOWED_W)
    machine.state.header["init_error"][0] = 9
    hands.look()
    assert hands.in_force_w == OVERHEAD.node_w(2800.0)
    assert hands.hold(ALLOWED_W).shortfall_w > 0.0
    machine.state.reload_driver()
    machine.state.header["init_error"][0] = 0
    hands.look()
    assert hands.in_force_w == enforced_w(machine) <= ALLOWED_W


def test_cards_that_take_limits_higher_than_asked_still_fit(machine: Machine, take: Make) -> None:
    machine.state.cards["set_delta_mw"][:] = 20_000
    hands = take(machine)
    assert hands.hold(ALLOWED_W).in_force_w <= ALLOWED_W
    assert enforced_w(machine) <= ALLOWED_W
    assert machine.limits_w() == pytest.approx([450.0] * 4, abs=1.0)
    assert hands.counts.adjusted >= 4


def test_for_a_card_that_takes_one_value_only_the_others_give_way(machine: Machine, take: Make) -> None:
    machine.state.cards["set_override_mw"][0] = 690_000
    hands = take(machine)
    for _ in range(6):
        assert hands.hold(ALLOWED_W).in_force_w <= ALLOWED_W
        assert enforced_w(machine) <= ALLOWED_W
    assert machine.limits_w() == pytest.approx([690.0, 370.0, 370.0, 370.0], abs=1.0)
    before = int(machine.state.cards["set_calls"][0])
    for _ in range(3):
        hands.hold(ALLOWED_W)
    assert int(machine.state.cards["set_calls"][0]) == before


def test_for_a_card_that_refuses_the_others_give_way_until_it_takes(machine: Machine, take: Make) -> None:
    machine.state.fail(3, "set", 4)
    hands = take(machine)
    outcome = hands.hold(ALLOWED_W)
    assert machine.limits_w() == pytest.approx([366.666] * 3 + [700.0], abs=0.01)
    assert outcome.in_force_w == enforced_w(machine) <= ALLOWED_W
    assert "GPU-3" in outcome.troubles[0]
    assert hands.counts.refusals == 1
    machine.state.fail(3, "set", 4, calls=0)
    assert hands.hold(ALLOWED_W).troubles == ()
    assert machine.limits_w() == pytest.approx([450.0] * 4, abs=0.01)


def test_a_set_that_hangs_counts_at_the_most_it_may_become(machine: Machine, take: Make) -> None:
    hands = take(machine)
    hands.hold(ALLOWED_W)
    machine.state.hang(0, "set", HANG_S, calls=1)
    outcome = hands.hold(ALLOWED_W, (650.0, 300.0, 300.0, 300.0))  # it is being raised: others were lowered first
    assert hands.standings[0].most_w == pytest.approx(650.0, abs=0.01)
    assert outcome.in_force_w <= ALLOWED_W
    outcome = hands.hold(ALLOWED_W - 220.0, (450.0,) * 4)  # and now it cannot be called back
    assert outcome.in_force_w == pytest.approx(OVERHEAD.node_w(650.0 + 3 * 316.667), abs=0.1)
    wait_until_back(hands)
    hands.hold(ALLOWED_W - 220.0, (400.0,) * 4)
    assert machine.limits_w() == pytest.approx([400.0] * 4, abs=0.01)


def test_a_lower_that_hangs_leaves_the_others_to_give_way_in_time(machine: Machine, take: Make) -> None:
    hands = take(machine)
    hands.look()
    machine.state.hang(1, "set", HANG_S, calls=1)
    began_s = time.monotonic()
    outcome = hands.fall(ALLOWED_W)
    assert time.monotonic() - began_s < HANG_S
    assert outcome.in_force_w == enforced_w(machine) <= ALLOWED_W
    assert machine.limits_w()[1] == 700.0
    wait_until_back(hands)
    assert machine.limits_w()[1] < 700.0  # the call that was out did arrive
    assert hands.hold(ALLOWED_W).troubles == ()


def test_a_read_that_hangs_leaves_a_card_at_its_last_limit(machine: Machine, take: Make) -> None:
    hands = take(machine)
    hands.hold(ALLOWED_W)
    machine.state.hang(2, "read", HANG_S, calls=1)
    began_s = time.monotonic()
    hands.look()
    assert time.monotonic() - began_s < HANG_S
    assert isinstance(trouble := hands.standings[2].trouble, Trouble)
    assert trouble.hung
    assert hands.in_force_w == enforced_w(machine) <= ALLOWED_W
    assert hands.hold(ALLOWED_W - 330.0).in_force_w == enforced_w(machine) <= ALLOWED_W - 330.0
    wait_until_back(hands)


def test_a_fall_goes_before_what_is_in_progress(machine: Machine, take: Make) -> None:
    hands = take(machine)
    hands.hold(ALLOWED_W)
    machine.state.hang(0, "set", HANG_S, calls=1)
    holding = Thread(target=hands.hold, args=(ALLOWED_W, (300.0, 600.0, 300.0, 600.0)))
    holding.start()
    while machine.state.cards["set"][0]["hangs_left"]:
        time.sleep(0.005)
    began_s = time.monotonic()
    outcome = hands.fall(OVERHEAD.node_w(4 * 250.0 + 200.0))
    assert time.monotonic() - began_s < HANG_S
    holding.join()
    assert outcome.in_force_w <= OVERHEAD.node_w(450.0 + 3 * 250.0)
    assert sum(machine.limits_w()[1:]) <= 750.0
    wait_until_back(hands)


def test_a_lost_card_counts_and_comes_back_under_its_cap(machine: Machine, take: Make) -> None:
    hands = take(machine)
    hands.hold(ALLOWED_W)
    machine.state.unplug(1)
    hands.look()
    assert hands.standings[1].most_w == 700.0
    assert hands.hold(ALLOWED_W).in_force_w <= ALLOWED_W
    assert machine.limits_w()[0] == pytest.approx(366.666, abs=0.01)
    machine.state.cards["present"][1] = 1
    machine.state.cards["limit_mw"][1] = 700_000
    hands.look()
    hands.hold(ALLOWED_W)
    assert machine.limits_w() == pytest.approx([450.0] * 4, abs=0.01)
    assert [card.card.uuid for card in hands.standings] == [f"GPU-{n}" for n in range(4)]


def test_a_card_that_stays_in_trouble_does_not_fill_the_log(
    machine: Machine, take: Make, caplog: pytest.LogCaptureFixture
) -> None:
    hands = take(machine)
    hands.hold(ALLOWED_W)
    machine.state.unplug(1)
    machine.state.fail(2, "read", 999)
    for _ in range(5):
        hands.look()
    for uuid in ("GPU-1", "GPU-2"):  # once for the call that failed, once for the search that missed it
        assert 1 <= len([record for record in caplog.records if f"card={uuid}" in record.getMessage()]) <= 2


def test_a_hot_plugged_card_is_found_and_limited(machine: Machine, take: Make) -> None:
    now_s = [0.0]
    hands = take(machine, clock=lambda: now_s[0])
    hands.hold(ALLOWED_W)
    machine.state.plug(VirtualCard("GPU-new", "Virtual H100", 200.0, 700.0, 700.0, 75.0))
    now_s[0] = 11.0
    hands.look()
    assert len(hands.standings) == 5
    assert hands.hold(ALLOWED_W).in_force_w == enforced_w(machine) <= ALLOWED_W
    assert hands._originals.kept["GPU-new"].limit_w == 700.0


def test_originals_are_on_disk_before_the_first_write_and_restored_by_an_uninstall(
    machine: Machine, take: Make
) -> None:
    machine.state.write_limit(2, 600.0)
    take(machine).hold(ALLOWED_W)
    later = take(machine)
    later.hold(ALLOWED_W - 100.0)
    assert [old.limit_w for old in later._originals.kept.values()] == [700.0, 700.0, 600.0, 700.0]
    machine.state.fail(0, "set", 4)
    assert later.restore() == (f"GPU-0: still at {machine.limits_w()[0]:.0f} W",)
    assert machine.limits_w()[1:] == [700.0, 600.0, 700.0]
    machine.state.fail(0, "set", 4, calls=0)
    assert take(machine).restore() == ()
    assert machine.limits_w() == [700.0, 700.0, 600.0, 700.0]


def test_a_card_whose_original_cannot_be_saved_is_not_written_and_counts_as_it_stands(
    machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    hands = Hands(machine.driver, Originals(tmp_path / "file" / "o"), OVERHEAD, patience_s=PATIENCE_S)
    outcome = hands.hold(ALLOWED_W)
    assert machine.limits_w() == [700.0] * 4
    assert outcome.in_force_w == OVERHEAD.node_w(2800.0)
    assert outcome.shortfall_w == pytest.approx(OVERHEAD.node_w(2800.0) - ALLOWED_W)
    assert "cannot be saved" in outcome.troubles[0]


def test_a_dry_run_writes_nothing(machine: Machine, take: Make, tmp_path: Path) -> None:
    hands = take(machine, writes=False)
    assert hands.hold(ALLOWED_W).in_force_w == OVERHEAD.node_w(2800.0)
    assert machine.limits_w() == [700.0] * 4
    assert not (tmp_path / "state").exists()


def test_a_card_of_an_earlier_life_that_is_missing_counts_until_it_is_forgotten(machine: Machine, take: Make) -> None:
    take(machine).hold(ALLOWED_W)
    machine.state.unplug(3)
    hands = take(machine)
    assert hands.hold(ALLOWED_W).in_force_w <= ALLOWED_W
    assert hands.standings[3].most_w == 700.0
    assert hands.forget("GPU-0") is not None
    assert hands.forget("GPU-3") is None
    assert len(hands.standings) == 3
    assert take(machine).look()[2].card.uuid == "GPU-2"


def test_until_the_driver_has_spoken_nothing_is_promised(machine: Machine, take: Make) -> None:
    machine.state.header["init_error"][0] = 9
    hands = take(machine)
    assert "not loaded" in hands.hold(ALLOWED_W).troubles[0]
    assert hands.blind
    machine.state.header["init_error"][0] = 0
    hands.look()
    assert not hands.blind


def test_the_guard_takes_off_what_is_drawn_beyond_the_grant(machine: Machine, take: Make) -> None:
    """Fans draw 200 W more than the node's model says: the cards keep to their limits, the node does not."""
    now_s = [0.0]
    hands = take(machine, clock=lambda: now_s[0])
    hands.hold(ALLOWED_W)
    for _ in range(60):
        now_s[0] += 0.2
        draw_w = machine.state.enforced_w()
        machine.state.play(draw_w, 0.2)
        node_w = enforced_w(machine) + 200.0
        hands.watch(node_w)
    assert enforced_w(machine) + 200.0 <= ALLOWED_W * 1.005
    assert hands.counts.guard_cuts >= 1
    assert hands.hold(ALLOWED_W).off_w > 150.0
    assert enforced_w(machine) + 200.0 <= ALLOWED_W * 1.005


def test_cards_that_keep_to_their_limits_are_left_alone_by_the_guard(machine: Machine, take: Make) -> None:
    now_s = [0.0]
    hands = take(machine, clock=lambda: now_s[0])
    hands.hold(ALLOWED_W)
    for _ in range(60):
        now_s[0] += 0.2
        machine.state.play(machine.state.enforced_w(), 0.2)
        assert hands.watch().off_w == 0.0


storm = st.lists(
    st.tuples(
        st.sampled_from(["hold", "hold", "fall", "watch", "refuse", "obey", "more", "override", "foreign",
                         "reload", "unplug", "replug", "bmc"]),
        st.integers(0, 3),
        st.floats(200.0, 700.0),
    ),
    min_size=1,
    max_size=25,
)  # fmt: skip


@given(storm)
@settings(max_examples=60, deadline=None)
def test_in_any_storm_no_write_of_ours_passes_what_is_allowed(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, float]]
) -> None:
    """Others may raise limits; after the next call that sees it all fits again, or the shortfall is told."""
    folder = tmp_path_factory.mktemp("storm")
    state = VirtualState.create(folder / "gpus", CARDS)
    hands = Hands(Virtual(state.path), Originals(folder / "originals"), OVERHEAD, patience_s=2.0)
    allowed_w = ALLOWED_W
    hands.hold(allowed_w)
    for step, slot, watts_w in steps:
        if step not in ("hold", "fall", "watch"):
            shake(state, step, slot, watts_w)
            continue
        hands.look()
        if step == "watch":
            outcome = hands.watch()
        else:
            allowed_w = OVERHEAD.node_w(4 * watts_w)
            caps_w = (watts_w, 700.0, 450.0, 250.0)
            outcome = hands.hold(allowed_w, caps_w) if step == "hold" else hands.fall(allowed_w)
        real_w = OVERHEAD.node_w(float(np.sum(state.enforced_w())))
        assert outcome.in_force_w >= real_w - 1e-6
        assert outcome.in_force_w <= allowed_w + outcome.shortfall_w + 0.01
        if outcome.shortfall_w == 0.0:
            assert real_w <= allowed_w


def shake(state: VirtualState, step: str, slot: int, watts_w: float) -> None:
    """One fault, or the end of one."""
    if step == "refuse":
        state.fail(slot, "set", 4)
    elif step == "obey":
        state.fail(slot, "set", 0, calls=0)
        state.cards["set_delta_mw"][slot] = state.cards["set_override_mw"][slot] = state.cards["bmc_mw"][slot] = 0
    elif step == "more":
        state.cards["set_delta_mw"][slot] = round((watts_w - 450.0) * 1e2)
    elif step == "override":
        state.cards["set_override_mw"][slot] = round(watts_w * 1e3)
    elif step == "foreign":
        state.write_limit(slot, watts_w)
    elif step == "reload":
        state.reload_driver()
    elif step == "bmc":
        state.cards["bmc_mw"][slot] = round(watts_w * 1e3)
    else:
        state.cards["present"][slot] = step == "replug"


def test_a_report_tells_the_limit_as_read_back_and_no_draw_of_a_lost_card(machine: Machine, take: Make) -> None:
    now_s = [100.0]
    hands = take(machine, clock=lambda: now_s[0])
    hands.hold(ALLOWED_W, (300.0, 400.0, 250.0, 350.0))
    machine.state.play(np.full(4, 240.0), 1.0)
    hands.look()
    machine.state.unplug(1)
    machine.state.write_limit(2, 260.0)
    now_s[0] = 100.5
    hands.look()
    reports = [card_report(card, 101.0) for card in hands.standings]
    assert [(report.limit_w, report.power_w, report.lost) for report in reports] == [
        (300.0, 240.0, False), (700.0, None, True), (260.0, 240.0, False), (350.0, 240.0, False),
    ]  # fmt: skip
    assert [report.age_s for report in reports] == [0.5, 1.0, 0.5, 0.5]
    assert (reports[2].foreign_writes, reports[2].foreign_w) == (1, 260.0)
