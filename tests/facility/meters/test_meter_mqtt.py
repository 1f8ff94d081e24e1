"""A meter behind mosquitto: retained messages, last wills, garbage, and a broker that goes away."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import Any

import aiomqtt
from hypothesis import given
from hypothesis import strategies as st

from wattlease.core.api import Meter
from wattlease.facility.meters.drivers import driver_of, look
from wattlease.facility.meters.modbus_line import Lines
from wattlease.facility.meters.mqtt import unix_s
from wattlease.facility.meters.reading import Driver, Measured, Trouble


def mqtt_meter(port: int, **reach: Any) -> Meter:
    mqtt = {"host": "127.0.0.1", "port": port, "topic": "hall/feed"} | reach
    return Meter.model_validate({"name": "feed", "kind": "Mqtt", "timeoutSeconds": 1, "mqtt": mqtt})


def driver(meter: Meter) -> Driver:
    made = driver_of(meter, Lines())
    assert made is not None
    return made


async def publish(port: int, payload: str, topic: str = "hall/feed", retain: bool = False) -> None:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.publish(topic, payload, qos=1, retain=retain)


async def until(meter: Meter, one: Driver, kind: type, text: str = "") -> Any:
    """The first answer of a kind that holds the text; messages and wills take a moment through the broker."""
    end_s = time.monotonic() + 30
    while not isinstance(found := await look(meter, one), kind) or text not in str(found):
        assert time.monotonic() < end_s, found
        await asyncio.sleep(0.05)
    return found


@given(st.floats(0, 4e9, allow_nan=False))
def test_times_are_read_in_seconds_milliseconds_and_words_alike(at_s: float) -> None:
    at_s = round(at_s, 3)
    assert unix_s(at_s) == unix_s(str(at_s)) == at_s
    if at_s > 1e9:
        assert abs((unix_s(at_s * 1000) or 0.0) - at_s) < 1e-3


def test_a_time_without_its_zone_is_none() -> None:
    assert unix_s("2026-07-01T12:00:00+02:00") == 1782900000.0
    assert unix_s("2026-07-01T12:00:00") is None


async def test_a_published_number_is_read_and_grows_old(broker: Any) -> None:
    meter = mqtt_meter(broker.port)
    one = driver(meter)
    silent = await look(meter, one)
    await publish(broker.port, "8200.5")
    found = await until(meter, one, Measured)
    await asyncio.sleep(0.3)
    later = await look(meter, one)
    await one.close()
    assert isinstance(silent, Trouble)
    assert "nothing on hall/feed" in silent.text
    assert found.power_w == 8200.5
    assert isinstance(later, Measured)
    assert later.age_s >= found.age_s + 0.25


async def test_a_field_of_a_json_message_is_found_by_its_path(broker: Any) -> None:
    meter = mqtt_meter(broker.port, field="phases.1.kW", scale=1000)
    one = driver(meter)
    await look(meter, one)
    await publish(broker.port, json.dumps({"phases": [{"kW": 1}, {"kW": 4.2}]}))
    found = await until(meter, one, Measured)
    await one.close()
    assert found.power_w == 4200.0


async def test_a_retained_message_without_a_time_is_not_believed_until_a_live_one_comes(broker: Any) -> None:
    await publish(broker.port, "8200", retain=True)
    meter = mqtt_meter(broker.port)
    one = driver(meter)
    found = await look(meter, one)
    assert isinstance(found, Trouble)
    assert "retained message so far, of unknown age" in found.text
    await publish(broker.port, "8300")
    live = await until(meter, one, Measured)
    await one.close()
    assert live.power_w == 8300.0


async def test_a_retained_message_with_a_time_has_its_true_age(broker: Any) -> None:
    told = {"w": 8200, "at": time.time() - 77.0}
    await publish(broker.port, json.dumps(told), retain=True)
    meter = mqtt_meter(broker.port, field="w", timeField="at")
    one = driver(meter)
    found = await until(meter, one, Measured)
    await one.close()
    assert 76.0 < found.age_s < 80.0


async def test_a_clock_that_is_ahead_makes_no_reading(broker: Any) -> None:
    meter = mqtt_meter(broker.port, field="w", timeField="at")
    one = driver(meter)
    await look(meter, one)
    await publish(broker.port, json.dumps({"w": 8200, "at": time.time() + 60}))
    await until(meter, one, Trouble, "ahead of ours")
    await one.close()


async def test_garbage_is_trouble_and_the_next_number_is_read(broker: Any) -> None:
    meter = mqtt_meter(broker.port, field="w")
    one = driver(meter)
    await look(meter, one)
    for garbage in ('{"w": "NaN"}', "{not json", '{"w": {"deep": 1}}', "[" * 5000, '{"v": 3}', '{"w": true}'):
        await publish(broker.port, garbage)
        await until(meter, one, Trouble, "holds no number")
        await publish(broker.port, '{"w": 5}')
        assert (await until(meter, one, Measured)).power_w == 5.0
    await one.close()


async def test_a_last_will_ends_a_meter_at_once_and_its_return_is_believed(broker: Any) -> None:
    meter = mqtt_meter(broker.port, aliveTopic="hall/alive")
    one = driver(meter)
    await look(meter, one)
    will = aiomqtt.Will("hall/alive", "offline", qos=1, retain=True)
    source = aiomqtt.Client("127.0.0.1", broker.port, will=will)
    await source.__aenter__()
    await source.publish("hall/feed", "8200", qos=1, retain=True)
    await until(meter, one, Measured)
    source._client.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # the broker sends its will
    gone = await until(meter, one, Trouble)
    assert "last will" in gone.text
    await publish(broker.port, "online", "hall/alive", retain=True)
    await publish(broker.port, "7700")
    assert (await until(meter, one, Measured)).power_w == 7700.0
    await one.close()


async def test_a_broker_that_goes_away_is_told_and_found_again(broker: Any) -> None:
    meter = mqtt_meter(broker.port)
    one = driver(meter)
    await look(meter, one)
    await publish(broker.port, "8200")
    await until(meter, one, Measured)
    broker.stop()
    await until(meter, one, Trouble)
    broker.start()
    broker.wait_for_tcp()
    for _ in range(20):
        await publish(broker.port, "8300")
        if isinstance(found := await look(meter, one), Measured):
            break
        await asyncio.sleep(0.5)
    await one.close()
    assert isinstance(found, Measured)
    assert found.power_w == 8300.0
