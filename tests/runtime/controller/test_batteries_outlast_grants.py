"""What a grantor's file may not say of its batteries: watts are lent on them for as long as a grant lasts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the hall's file stands in a module beside the tests

from leased_nodes import hall_settings

from wattlease.runtime.controller.settings import ControllerSettings

GRANT_S = 10.0


def with_battery(tmp_path, reversion_s: int) -> ControllerSettings:
    pcs = {"sunSpec": {"host": "127.0.0.1"}, "reversionSeconds": reversion_s, "heartbeatSeconds": 2}
    pack = {"name": "pack", "capacityWattHours": 1000, "maxChargeWatts": 500, "maxDischargeWatts": 500, "pcs": pcs}
    spec = {"limitWatts": 2600, "guaranteedWatts": 1600, "storage": [pack]}
    return hall_settings(tmp_path, spec, grantSeconds=GRANT_S)


@pytest.mark.parametrize("reversion_s", [10, 13])
def test_a_battery_that_may_stop_before_what_was_lent_on_it_has_run_out_is_refused(tmp_path, reversion_s) -> None:
    """Its last order may be a heartbeat older than the last grant, and one more may have been lost."""
    with pytest.raises(ValueError, match=f"{reversion_s} is shorter than a grant of 10 s and two heartbeats of 2 s"):
        with_battery(tmp_path, reversion_s)


def test_a_battery_that_outlasts_grants_and_two_heartbeats_is_taken(tmp_path) -> None:
    assert with_battery(tmp_path, 14).grant_seconds == GRANT_S
