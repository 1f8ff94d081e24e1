"""One feed of prices: asked in the background, its last good curves kept in memory and on disk.

Rule 1: trouble never takes a curve away; only its own end does.
Rule 2: a feed that is in trouble is asked less often, and one that asks to be left alone is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from wattlease.core.api_tariff import PriceFeed
from wattlease.facility.prices import electricity_maps, entsoe, price_file
from wattlease.facility.prices.asking import Trouble
from wattlease.facility.prices.curve import Curve
from wattlease.runtime.lease.disk import replace_file
from wattlease.runtime.lease.said import Said

Fetched = tuple[Curve, ...] | Trouble
Fetch = Callable[[float], Awaitable[Fetched]]

FIRST_RETRY_S = 30.0
"""After a first failure; each further one doubles it, up to the feed's own interval."""


class _Kept(BaseModel):
    """What is on disk: the curves, and what was asked for them, since an answer to another question is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    asked: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """What a feed is called, what it is asked (as JSON), how, and how often."""

    name: str
    asks: str
    every_s: float
    fetch: Fetch


class Feed:
    """The last good curves of a source, and what is wrong with it now. One task runs it."""

    def __init__(self, source: Source, folder: Path | None, clock: Callable[[], float], said: Said) -> None:
        self.source, self._clock, self._said = source, clock, said
        self.trouble = Trouble("not asked yet")
        self._kept = folder / f"prices-{source.name}.json" if folder else None
        self._failures = 0
        self.curves: tuple[Curve, ...] = ()

    async def run(self) -> None:
        """Begin with what is on disk, then ask until cancelled."""
        await asyncio.to_thread(self._load)
        while True:
            await asyncio.sleep(await self.ask())

    async def ask(self) -> float:
        """Ask once; returns how long to wait until the next time."""
        found = await self.source.fetch(self._clock())
        if isinstance(found, Trouble):
            return self._failed(found)
        news = _without_age(found) != _without_age(self.curves)
        self.curves, self.trouble, self._failures = found, Trouble(""), 0
        if self._said.forget(self.source.name):
            self._said.once(logging.INFO, f"{self.source.name} answers", "prices are its own again")
        if news:
            await asyncio.to_thread(self._save)
        return self.source.every_s

    def _failed(self, trouble: Trouble) -> float:
        self.trouble = trouble
        self._said.forget(f"{self.source.name} answers")
        self._said.once(logging.WARNING, self.source.name, trouble.text)
        retry_s = min(self.source.every_s, FIRST_RETRY_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        return max(retry_s, trouble.wait_s)

    def _load(self) -> None:
        if self._kept is None or self.curves:
            return
        try:
            kept = _Kept.model_validate_json(self._kept.read_bytes())
            self.curves = kept.curves if kept.asked == self.source.asks else ()
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            why = getattr(error, "strerror", None) or "it holds no curves"
            self._said.once(logging.WARNING, f"{self.source.name} kept", f"{self._kept}: {why}; begins without")

    def _save(self) -> None:
        if self._kept is None:
            return
        try:
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            kept = _Kept(asked=self.source.asks, curves=self.curves)
            replace_file(self._kept, kept.model_dump_json().encode())
        except OSError as error:
            self._said.once(logging.WARNING, f"{self.source.name} kept", f"{self._kept}: {error.strerror}; not kept")


def sources(settings: PriceFeed) -> tuple[Source, ...]:
    """The feeds of a tariff, the one that goes before the others first."""
    found = (
        ("file", settings.file, _file),
        ("entso-e", settings.entso_e, _entsoe),
        ("electricity-maps", settings.electricity_maps, _maps),
    )
    return tuple(
        Source(name, f"{part.model_dump_json()} {settings.factor} {settings.surcharge_per_kilowatt_hour}",
               part.poll_seconds, fetch(settings))
        for name, part, fetch in found
        if part
    )  # fmt: skip


def _file(settings: PriceFeed) -> Fetch:
    async def fetch(now_s: float) -> Fetched:
        assert settings.file
        return await asyncio.to_thread(price_file.read, settings.file, now_s)

    return fetch


def _entsoe(settings: PriceFeed) -> Fetch:
    async def fetch(now_s: float) -> Fetched:
        assert settings.entso_e
        found = await entsoe.fetch(settings.entso_e, now_s)
        return found if isinstance(found, Trouble) else (_at_the_site(found, settings),)

    return fetch


def _maps(settings: PriceFeed) -> Fetch:
    async def fetch(now_s: float) -> Fetched:
        assert settings.electricity_maps
        found = await electricity_maps.fetch(settings.electricity_maps, now_s)
        return found if isinstance(found, Trouble) else (found,)

    return fetch


def _at_the_site(curve: Curve, settings: PriceFeed) -> Curve:
    """What a market's price comes to behind the meter."""
    values = tuple(settings.factor * value + settings.surcharge_per_kilowatt_hour for value in curve.values)
    return curve.model_copy(update={"values": values})


def _without_age(curves: tuple[Curve, ...]) -> list[str]:
    """What a curve says, apart from when it was told; as text, for NaN equals nothing."""
    return [repr(curve.model_copy(update={"got_s": 0.0})) for curve in curves]
