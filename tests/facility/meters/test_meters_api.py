"""A meter in a budget: what is refused, and with what words."""

from __future__ import annotations

from pathlib import Path

import pytest

from wattlease.core.api import Meter
from wattlease.core.api_meters import WAYS
from wattlease.core.errors import BudgetError
from wattlease.runtime.files import load_all
from wattlease.runtime.files_yaml import documents

HEAD = "kind: PowerBudget\nmetadata: {name: hall}\nspec:\n  limitWatts: 100000\n  meters:\n    - "


def refusal(tmp_path: Path, meter: str) -> str:
    path = tmp_path / "budget.yaml"
    path.write_text(HEAD + meter + "\n")
    with pytest.raises(BudgetError) as error:
        load_all(path)
    return str(error.value)


@pytest.mark.parametrize("kind", sorted(WAYS))
def test_every_kind_says_how_it_is_reached_and_its_example_is_right(kind: str, tmp_path: Path) -> None:
    field, example = WAYS[kind]
    told = refusal(tmp_path, f"{{name: feed, kind: {kind}}}")
    assert f"{field}: {example}" in told
    [document], _ = documents(f"{{name: feed, kind: {kind}, {field}: {example}}}", "example")
    meter = Meter.model_validate(document.value)
    assert meter.reach is not None
    assert meter.every_seconds <= meter.stale_seconds


@pytest.mark.parametrize(
    ("meter", "told"),
    [
        ("{name: f, kind: Virtual, snmp: {host: a, mib: ApcRpdu2}}", "does not go with kind Virtual"),
        ("{name: f, kind: Snmp, sunSpec: {host: a}}", "leave it out, or write kind: SunSpec"),
        ("{name: f, kind: Snmp, snmp: {host: a}}", "write mib, or the power's oid"),
        ("{name: f, kind: Snmp, snmp: {host: a, mib: ApcRpdu2, oid: 1.3.6.1}}", "keep one"),
        ("{name: f, kind: Snmp, snmp: {host: a, mib: ApcRpdu2, scale: 10}}", "has its own scale"),
        ("{name: f, kind: Snmp, snmp: {host: a, mib: ApcPdu}}", "did you mean ApcRpdu2"),
        ("{name: f, kind: Snmp, snmp: {host: a, mib: ApcRpdu2, version: 3}}", "did you mean v3"),
        ("{name: f, kind: Snmp, snmp: {host: a, mib: ApcRpdu2, version: v3, user: u}}", "add authKeyFile"),
        ("{name: f, kind: Snmp, snmp: {host: a, mib: ApcRpdu2, version: v3, community: public}}", "version v2c only"),
        ("{name: f, kind: Snmp, snmp: {host: a, mib: ApcRpdu2, privKeyFile: k}}", "version v3 only"),
        ("{name: f, kind: Snmp, snmp: {host: a, mib: ApcRpdu2, authKey: hush}}", "did you mean 'authKeyFile'"),
        ("{name: f, kind: Modbus, modbus: {host: a, registers: []}}", "a list of at least 1"),
        ("{name: f, kind: Modbus, modbus: {host: a, registers: [{address: 1, type: int}]}}", "did you mean int"),
        (
            "{name: f, kind: Modbus, modbus: {host: a, registers: [{address: 1, type: int16, scale: 0}]}}",
            "make every reading 0",
        ),
        ("{name: f, kind: Redfish, redfish: {url: 10.0.0.9}}", "no web address"),
        ("{name: f, kind: Redfish, redfish: {url: 'https://me:pw@a'}}", "there are fields for them"),
        ("{name: f, kind: Redfish, redfish: {url: 'http://a', userFile: u, passwordFile: p}}", "write https"),
        ("{name: f, kind: Redfish, redfish: {url: 'https://a', userFile: u}}", "add passwordFile"),
        ("{name: f, kind: Mqtt, mqtt: {host: a, topic: site/#}}", "stands for many topics"),
        ("{name: f, kind: Mqtt, mqtt: {host: a, topic: t, userFile: u, passwordFile: p}}", "write tls: true"),
        ("{name: f, kind: Virtual, pollSeconds: 30}", "above staleSeconds 10"),
        ("{name: f, kind: Virtual, measures: Cooling, feed: a}", "does not go with measures: Cooling"),
    ],
)
def test_a_mistake_is_refused_with_its_line_and_what_to_write(meter: str, told: str, tmp_path: Path) -> None:
    refused = refusal(tmp_path, meter)
    assert told in refused
    assert "budget.yaml:6:" in refused


def test_slow_devices_are_asked_rarely_unless_it_is_written() -> None:
    pdu = {"name": "p", "kind": "Snmp", "snmp": {"host": "a", "mib": "ApcRpdu2"}}
    assert Meter.model_validate(pdu).every_seconds == 5
    assert Meter.model_validate(pdu | {"pollSeconds": 2}).every_seconds == 2
    assert Meter(name="v", kind="Virtual").every_seconds == 1
