"""A value that is published over MQTT: the newest message, and whether its sender still lives."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import aiomqtt

from wattlease.core.api_reach import MqttMeter
from wattlease.facility.meters.reading import Measured, Trouble
from wattlease.facility.meters.secret_files import account
from wattlease.facility.meters.web import number
from wattlease.runtime.lease.clock import Now, steady_s
from wattlease.runtime.waiting import set_within

AGAIN_S, AGAIN_MAX_S = 1.0, 30.0
"""How soon a lost broker is tried again: twice as long each time."""

AHEAD_S = 5.0
"""How far a sender's clock may be ahead of ours before its times are worth nothing."""

MILLIS_FROM = 1e11
"""Unix seconds of the year 5138; a larger number counts milliseconds."""

QUIET = logging.getLogger("wattlease.facility.mqtt.library")
QUIET.setLevel(logging.CRITICAL)  # what it would log is told as trouble


@dataclass(frozen=True, slots=True)
class _Heard:
    """The newest message's meaning and when it came, on our steady clock."""

    measured: Measured
    at_s: float


class Mqtt:
    """Listens from the first reading on, in a task of its own; a reading is the newest message."""

    def __init__(self, reach: MqttMeter, timeout_s: float, clock: Now = steady_s) -> None:
        self._reach, self._timeout_s, self._clock = reach, timeout_s, clock
        self._name = f"{reach.host}:{reach.port or (8883 if reach.tls else 1883)}"
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._heard: _Heard | None = None
        self._trouble: Trouble | None = None

    async def read(self) -> Measured | Trouble:
        """The newest message and its age; the first is waited for."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen())
        if self._heard is None and self._trouble is None:
            await set_within(self._news, self._timeout_s)
        if self._trouble is not None:
            return self._trouble
        if self._heard is None:
            text = f"{self._name}: nothing on {self._reach.topic} within {self._timeout_s:g} s"
            return Trouble(text, "check topic, and how often it is published")
        waited_s = self._clock() - self._heard.at_s
        return replace(self._heard.measured, age_s=self._heard.measured.age_s + waited_s)

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._task = self._heard = self._trouble = None
        self._news.clear()

    async def _listen(self) -> None:
        again_s = AGAIN_S
        while True:
            began_s = self._clock()
            trouble = await self._session()
            self._told(trouble)
            again_s = AGAIN_S if self._clock() - began_s > AGAIN_MAX_S else min(2.0 * again_s, AGAIN_MAX_S)
            await asyncio.sleep(again_s)

    async def _session(self) -> Trouble:
        """One connection, from its beginning to its end, and why it ended."""
        who = account(self._reach.user_file, self._reach.password_file)
        if isinstance(who, Trouble):
            return who
        try:
            async with self._client(*(who or (None, None))) as client:
                for topic in filter(None, (self._reach.alive_topic, self._reach.topic)):
                    await client.subscribe(topic, qos=1)
                self._trouble = None
                async for message in client.messages:
                    self._take(message)
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            return Trouble(f"{self._name}: {error}", "check host, port, tls and the account; it is tried again")
        return Trouble(f"{self._name}: the broker ended the session")

    def _client(self, user: str | None, password: str | None) -> aiomqtt.Client:
        trust = ssl.create_default_context(cafile=self._reach.ca_file) if self._reach.tls else None
        host, _, port = self._name.rpartition(":")
        return aiomqtt.Client(
            host,
            int(port),
            username=user,
            password=password,
            tls_context=trust,
            timeout=self._timeout_s,
            keepalive=10,
            logger=QUIET,
        )

    def _take(self, message: aiomqtt.Message) -> None:
        text = (
            message.payload.decode("utf-8", "replace") if isinstance(message.payload, bytes) else str(message.payload)
        )
        if str(message.topic) == self._reach.alive_topic:
            self._lives(text)
            return
        found = self._measured(text, retained=bool(message.retain))
        if isinstance(found, Trouble):
            self._told(found)
            return
        if self._is_gone() and message.retain:
            return  # what a dead sender left behind
        self._heard, self._trouble = _Heard(found, self._clock()), None
        self._news.set()

    def _lives(self, text: str) -> None:
        gone = text.strip() == self._reach.gone_word
        if gone:
            self._heard = None
            self._told(
                Trouble(f"{self._name}: {self._reach.topic}: its sender is gone (its last will)", "start it again")
            )
        elif self._is_gone():
            self._trouble = None

    def _is_gone(self) -> bool:
        return self._trouble is not None and "last will" in self._trouble.text

    def _told(self, trouble: Trouble) -> None:
        self._trouble = trouble
        self._news.set()

    def _measured(self, text: str, retained: bool) -> Measured | Trouble:
        reach, what = self._reach, f"{self._name}: {self._reach.topic}"
        value = number(_at(text, reach.field) if reach.field else text.strip())
        if value is None or not math.isfinite(value):
            return Trouble(f"{what}: {text[:60]!r} holds no number", "write field: where the number stands")
        age_s = 0.0
        if reach.time_field:
            at_s = unix_s(_at(text, reach.time_field))
            if at_s is None:
                return Trouble(f"{what}: tells no time in {reach.time_field}", "check timeField")
            age_s = time.time() - at_s
            if age_s < -AHEAD_S:
                return Trouble(f"{what}: its time is {-age_s:.0f} s ahead of ours", "set its clock")
        elif retained:
            return Trouble(f"{what}: only a retained message so far, of unknown age", "write timeField, or wait for it")
        return Measured(value * reach.scale, reach.topic, age_s=max(0.0, age_s))


def unix_s(value: object) -> float | None:
    """Unix seconds of a time as devices write it: seconds, milliseconds, or ISO 8601 with its zone."""
    plain = number(value)
    if plain is not None:
        return plain / 1000.0 if plain >= MILLIS_FROM else plain
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at.timestamp() if at.tzinfo else None


def _at(text: str, path: str) -> object:
    """What stands at a path of names and places in a JSON text; `None` where nothing does."""
    try:
        value = json.loads(text)
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None
    found: object = value
    return found
