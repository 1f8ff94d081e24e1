"""PDUs and UPS over real UDP: snmpsim answers as APC, RFC 1628 and Raritan devices do."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from one_meter import read

from wattlease.core.api import Meter
from wattlease.facility.meters.drivers import driver_of, look
from wattlease.facility.meters.modbus_line import Lines
from wattlease.facility.meters.reading import Measured, Trouble

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pysnmp")


def snmp_meter(port: int, timeout_s: int = 2, **reach: Any) -> Meter:
    snmp = {"host": "127.0.0.1", "port": port} | reach
    return Meter.model_validate({"name": "pdu", "kind": "Snmp", "timeoutSeconds": timeout_s, "snmp": snmp})


async def up(port: int) -> None:
    """snmpsim takes some seconds to read its records; UDP does not tell when it listens."""
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        if isinstance(await read(snmp_meter(port, community="apc", mib="ApcRpdu2")), Measured):
            return
    pytest.fail("snmpsim did not answer within 30 s")


async def test_an_apc_pdu_counts_in_hundredths_of_a_kilowatt(snmp_agent: Any) -> None:
    await up(snmp_agent.port)
    found = await read(snmp_meter(snmp_agent.port, community="apc", mib="ApcRpdu2"))
    assert isinstance(found, Measured)
    assert found.power_w == 8230.0
    assert found.energy_j == pytest.approx(4567.8 * 3.6e6)


async def test_a_pdu_without_a_power_meter_says_so(snmp_agent: Any) -> None:
    await up(snmp_agent.port)
    found = await read(snmp_meter(snmp_agent.port, community="apc", mib="ApcRpdu2", index=2))
    assert isinstance(found, Trouble)
    assert "does not measure its power" in found.text


async def test_a_ups_is_the_sum_of_its_lines_at_output_or_input(snmp_agent: Any) -> None:
    await up(snmp_agent.port)
    output = await read(snmp_meter(snmp_agent.port, community="ups", mib="Ups1628"))
    drawn = await read(snmp_meter(snmp_agent.port, community="ups", mib="Ups1628Input"))
    assert isinstance(output, Measured)
    assert isinstance(drawn, Measured)
    assert (output.power_w, drawn.power_w) == (6006.0, 6306.0)


async def test_a_ups_line_that_is_silent_is_not_counted_as_nothing(snmp_agent: Any) -> None:
    await up(snmp_agent.port)
    found = await read(snmp_meter(snmp_agent.port, community="ups-with-a-dead-line", mib="Ups1628"))
    assert isinstance(found, Trouble)
    assert "2 of its 3 lines" in found.text


async def test_a_raritan_inlet_is_scaled_by_its_own_digits(snmp_agent: Any) -> None:
    await up(snmp_agent.port)
    found = await read(snmp_meter(snmp_agent.port, community="raritan", mib="RaritanPdu2"))
    assert isinstance(found, Measured)
    assert found.power_w == pytest.approx(4821.3)
    assert found.energy_j == pytest.approx(1_234_567 * 3600.0)


async def test_any_object_may_be_named_with_its_scale(snmp_agent: Any) -> None:
    await up(snmp_agent.port)
    whole = await read(snmp_meter(snmp_agent.port, community="plain", oid=".1.3.6.1.4.1.99999.1.0", scale=10))
    text = await read(snmp_meter(snmp_agent.port, community="plain", oid="1.3.6.1.4.1.99999.3.0", scale=1000))
    assert isinstance(whole, Measured)
    assert isinstance(text, Measured)
    assert (whole.power_w, text.power_w) == (47_110.0, 48_250.0)


async def test_an_object_that_is_not_there_or_no_number_is_told_by_its_oid(snmp_agent: Any) -> None:
    await up(snmp_agent.port)
    absent = await read(snmp_meter(snmp_agent.port, community="plain", oid="1.3.6.1.4.1.99999.9.0"))
    words = await read(snmp_meter(snmp_agent.port, community="plain", oid="1.3.6.1.4.1.99999.2.0"))
    assert isinstance(absent, Trouble)
    assert isinstance(words, Trouble)
    assert "1.3.6.1.4.1.99999.9.0" in absent.text
    assert "'about 5 kW', no number" in words.text


async def test_version_3_signs_and_hides_with_keys_from_files(snmp_agent: Any, tmp_path: Path) -> None:
    await up(snmp_agent.port)
    found = await read(v3_meter(snmp_agent.port, tmp_path, "signing-it", "hiding-it"))
    assert isinstance(found, Measured)
    assert found.power_w == 4711.0


async def test_a_wrong_key_of_version_3_is_told_as_such(snmp_agent: Any, tmp_path: Path) -> None:
    await up(snmp_agent.port)
    found = await read(v3_meter(snmp_agent.port, tmp_path, "signing-wrong", "hiding-it"))
    assert isinstance(found, Trouble)
    assert "key" in found.fix


def v3_meter(port: int, folder: Path, auth: str, priv: str) -> Meter:
    for name, key in (("auth", auth), ("priv", priv)):
        (folder / name).write_text(f"{key}\n")
        (folder / name).chmod(0o600)
    keys = {"authKeyFile": str(folder / "auth"), "privKeyFile": str(folder / "priv")}
    return snmp_meter(port, version="v3", user="reader", context="plain", oid="1.3.6.1.4.1.99999.1.0", **keys)


async def test_a_key_that_everybody_may_read_is_not_used(tmp_path: Path) -> None:
    meter = v3_meter(9, tmp_path, "signing-it", "hiding-it")
    (tmp_path / "auth").chmod(0o644)
    found = await read(meter)
    assert isinstance(found, Trouble)
    assert "everybody may read" in found.text


async def test_a_wrong_community_is_met_with_silence_and_told_within_the_timeout(snmp_agent: Any) -> None:
    await up(snmp_agent.port)
    began_s = time.monotonic()
    found = await read(snmp_meter(snmp_agent.port, timeout_s=1, community="nobody", mib="ApcRpdu2"))
    assert isinstance(found, Trouble)
    assert "community" in found.fix
    assert time.monotonic() - began_s < 10.0


async def test_a_pdu_that_is_away_is_trouble_and_is_read_when_it_is_back(snmp_agent: Any) -> None:
    await up(snmp_agent.port)
    meter = snmp_meter(snmp_agent.port, timeout_s=1, community="apc", mib="ApcRpdu2")
    driver = driver_of(meter, Lines())
    assert driver is not None
    snmp_agent.process.send_signal(19)  # it hangs
    hung = await look(meter, driver)
    snmp_agent.process.send_signal(18)
    await asyncio.sleep(0.5)
    back = await look(meter, driver)
    await driver.close()
    assert isinstance(hung, Trouble)
    assert isinstance(back, Measured)
