"""How a driver behaves, real or virtual: the same tests for the virtual one and for the binding on the C library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wattlease.agent.cards import Card, CardReading, Trouble
from wattlease.agent.virtual_layout import (
    LACKS_ENERGY,
    LACKS_INSTANT,
    LACKS_LIMITS,
    LACKS_MEAN,
    LACKS_REASONS,
)
from wattlease.agent.virtual_state import VirtualCard


def read(machine: Any, slot: int = 0) -> CardReading:
    told = machine.driver.read(f"GPU-{slot}")
    assert isinstance(told, CardReading), told
    return told


def test_cards_are_found_by_index_with_their_range(machine: Any) -> None:
    assert machine.driver.find() == tuple(Card(f"GPU-{n}", n, "Virtual H100", 200.0, 700.0, 700.0) for n in range(4))


def test_mig_instances_are_found_with_their_part_of_the_card(machine: Any) -> None:
    slices = (("MIG-a", 3), ("MIG-b", 2), ("MIG-c", 1))
    machine.state.plug(VirtualCard("GPU-m", "Virtual H100", 200.0, 700.0, 700.0, 75.0, slices))
    assert machine.driver.find()[4].slices == (("MIG-a", 3 / 7), ("MIG-b", 2 / 7), ("MIG-c", 1 / 7))


def test_a_look_gives_watts_joules_and_hertz(machine: Any) -> None:
    machine.driver.find()
    machine.state.play(np.array([512.25, 75.0, 75.0, 75.0]), 2.0, mean_w=np.array([498.5, 75.0, 75.0, 75.0]))
    machine.state.cards["clock_mhz"][0] = 1980
    machine.state.cards["reasons"][0] = 0x4
    assert read(machine) == CardReading(512.25, 498.5, 1024.5, 700.0, 700.0, 1.98e9, 0x4)
    glance = machine.driver.glance("GPU-0")
    assert (glance.power_w, glance.energy_j, glance.limit_w) == (512.25, 1024.5, 700.0)


def test_an_out_of_band_limit_shows_as_enforced_only(machine: Any) -> None:
    machine.driver.find()
    machine.state.cards["bmc_mw"][0] = 450_000
    assert (read(machine).limit_w, read(machine).enforced_w) == (700.0, 450.0)


def test_a_limit_is_set_in_whole_milliwatts_never_above_what_was_asked(machine: Any) -> None:
    machine.driver.find()
    assert machine.driver.limit("GPU-1", 333.3339) is None
    assert machine.limits_w() == [700.0, 333.333, 700.0, 700.0]
    assert read(machine, 1).limit_w == 333.333


@pytest.mark.parametrize("limit_w", [199.0, 701.0])
def test_a_limit_out_of_range_is_refused_and_changes_nothing(machine: Any, limit_w: float) -> None:
    machine.driver.find()
    refused = machine.driver.limit("GPU-0", limit_w)
    assert isinstance(refused, Trouble)
    assert not refused.lost
    assert machine.limits_w()[0] == 700.0


def test_a_limit_may_be_accepted_at_another_value_which_reading_back_tells(machine: Any) -> None:
    machine.driver.find()
    machine.state.cards["set_delta_mw"][0] = 25_000
    machine.state.cards["set_override_mw"][1] = 650_000
    assert machine.driver.limit("GPU-0", 400.0) is None
    assert machine.driver.limit("GPU-1", 400.0) is None
    assert (read(machine, 0).limit_w, read(machine, 1).limit_w) == (425.0, 650.0)


def test_what_a_card_does_not_offer_is_none(machine: Any) -> None:
    machine.driver.find()
    machine.state.play(np.full(4, 300.0), 1.0)
    machine.state.cards["lacks"][:] = (LACKS_INSTANT, LACKS_MEAN, LACKS_ENERGY, LACKS_REASONS)
    machine.state.cards["reasons"][:] = 0x4
    for _ in range(2):  # the second time it is known
        told = [read(machine, slot) for slot in range(4)]
        assert [reading.mean_w for reading in told] == [300.0, None, 300.0, 300.0]
        assert [reading.energy_j for reading in told] == [300.0, 300.0, None, 300.0]
        assert [reading.reasons for reading in told] == [4, 4, 4, 0]
        assert [reading.power_w for reading in told] == [300.0, 300.0, 300.0, 300.0]


def test_a_card_without_any_power_reading_has_none(machine: Any) -> None:
    machine.driver.find()
    machine.state.cards["lacks"][0] = LACKS_INSTANT | LACKS_MEAN
    assert (read(machine).power_w, read(machine).mean_w) == (None, None)


def test_a_card_that_cannot_be_limited_is_not_found(machine: Any) -> None:
    machine.state.cards["lacks"][2] = LACKS_LIMITS
    assert [card.uuid for card in machine.driver.find()] == ["GPU-0", "GPU-1", "GPU-3"]


@pytest.mark.parametrize(("code", "lost"), [(4, False), (999, False), (15, True), (1, True), (9, True), (18, True)])
def test_trouble_says_whether_the_card_is_lost(machine: Any, code: int, lost: bool) -> None:
    machine.driver.find()
    for function, call in (("read", machine.driver.read), ("set", lambda uuid: machine.driver.limit(uuid, 300.0))):
        machine.state.fail(0, function, code)
        told = call("GPU-0")
        assert isinstance(told, Trouble)
        assert told.lost == lost, told
        assert f"({code})" in told.text
    assert machine.limits_w()[0] == 700.0


def test_a_card_in_trouble_hides_no_other(machine: Any) -> None:
    machine.state.fail(1, "read", 15)
    assert [card.uuid for card in machine.driver.find()] == ["GPU-0", "GPU-2", "GPU-3"]
    assert isinstance(machine.driver.read("GPU-2"), CardReading)


def test_a_reloaded_driver_has_forgotten_the_limits_and_answers_only_who_opens_it_anew(machine: Any) -> None:
    machine.driver.find()
    machine.driver.limit("GPU-0", 300.0)
    machine.state.play(np.full(4, 300.0), 1.0)
    machine.state.reload_driver()
    for told in (machine.driver.read("GPU-0"), machine.driver.limit("GPU-0", 300.0), machine.driver.find()):
        assert isinstance(told, Trouble)
        assert told.lost
    assert machine.driver.reopen() is None
    assert len(machine.driver.find()) == 4
    assert (read(machine).limit_w, read(machine).energy_j) == (700.0, 0.0)


def test_a_driver_that_is_not_loaded_says_so(machine: Any) -> None:
    machine.state.header["init_error"][0] = 9
    told = machine.driver.find()
    assert isinstance(told, Trouble)
    assert told.lost
    machine.state.header["init_error"][0] = 0
    assert machine.driver.reopen() is None
    assert len(machine.driver.find()) == 4


def test_an_unplugged_card_is_lost_and_a_new_one_is_found(machine: Any) -> None:
    machine.driver.find()
    machine.state.unplug(1)
    machine.state.plug(VirtualCard("GPU-new", "Virtual H100", 200.0, 700.0, 700.0, 75.0))
    told = machine.driver.read("GPU-1")
    assert isinstance(told, Trouble)
    assert told.lost
    assert [(card.uuid, card.index) for card in machine.driver.find()] == [
        ("GPU-0", 0), ("GPU-2", 1), ("GPU-3", 2), ("GPU-new", 3),
    ]  # fmt: skip
    machine.state.cards["present"][1] = 1
    assert len(machine.driver.find()) == 5
    assert isinstance(machine.driver.read("GPU-1"), CardReading)


def test_a_failed_read_is_over_after_as_many_calls_as_were_said(machine: Any) -> None:
    machine.driver.find()
    machine.state.fail(0, "read", 999, calls=1)
    assert isinstance(machine.driver.glance("GPU-0"), Trouble)
    assert not isinstance(machine.driver.glance("GPU-0"), Trouble)
