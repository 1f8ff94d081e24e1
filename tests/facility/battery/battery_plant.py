"""A battery behind a SunSpec converter on real Modbus TCP, with everything that may go wrong with one.

The map is made from the models' own definitions. Time is real: its charge moves, and its timers fire, whether anyone
looks or not. Watts are positive when it discharges; its registers are the only way to it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

START = 40000
ABSENT = {"int16": 0x8000, "sunssf": 0x8000, "int32": 0x80000000, "int64": 1 << 63, "string": 0, "pad": 0x8000}
WAY_FRAC = 0.95


class Map:
    """A SunSpec map: words, and where each point stands."""

    def __init__(self, models: tuple[int, ...]) -> None:
        self.words = [0x5375, 0x6E53]
        self.places: dict[tuple[int, str], tuple[int, int]] = {}
        for model in models:
            self._add(model)
        self.words += [0xFFFF, 0]

    def _add(self, model: int) -> None:
        first = len(self.words)
        text = (files("sunspec2") / "models" / "json" / f"model_{model}.json").read_text("utf-8")
        for name, size, kind in _points(json.loads(text)["group"]):
            self.places.setdefault((model, name), (len(self.words), size))
            value = ABSENT.get(kind, (1 << 16 * size) - 1)
            self.words += [value >> 16 * (size - 1 - i) & 0xFFFF for i in range(size)]
        self.put(model, ID=model, L=len(self.words) - first - 2)

    def put(self, model: int, **values: int) -> None:
        """Set points, as raw numbers."""
        for name, value in values.items():
            at, size = self.places[model, name]
            data = value & (1 << 16 * size) - 1
            self.words[at : at + size] = [data >> 16 * (size - 1 - i) & 0xFFFF for i in range(size)]

    def text(self, model: int, name: str, text: str) -> None:
        at, size = self.places[model, name]
        data = text.encode().ljust(2 * size, b"\0")
        self.words[at : at + size] = [data[i] << 8 | data[i + 1] for i in range(0, 2 * size, 2)]

    def raw(self, model: int, name: str) -> int:
        """A point as a signed number."""
        at, size = self.places[model, name]
        value = 0
        for word in self.words[at : at + size]:
            value = value << 16 | word
        return value - (value >> 16 * size - 1 << 16 * size)

    def names(self, offset: int, count: int) -> list[tuple[int, str]]:
        """Points that stand in these words."""
        return [key for key, (at, size) in self.places.items() if at < offset + count and offset < at + size]


def _points(group: dict[str, Any]) -> Iterator[tuple[str, int, str]]:
    for point in group.get("points", []):
        yield point["name"], point["size"], point["type"]
    for below in group.get("groups", []):
        if below.get("count", 1) in (0, 1) and isinstance(below.get("count", 1), int):
            yield from _points(below)


class BatteryPlant:
    """The battery; its public fields are what is wrong with it."""

    def __init__(self, models: tuple[int, ...] = (1, 701, 704, 713, 802), soc_frac: float = 0.8) -> None:
        self.models, self.map = models, Map(models)
        self.soc_frac, self.capacity_j, self.most_w = soc_frac, 3.6e7, 10_000.0
        self.power_w = self.order_w = 0.0
        self.told_more_frac = 0.0
        """By how much its state of charge is told too high."""
        self.local = self.refuses = self.does_opposite = self.tells_opposite = self.deaf = self.stuck = False
        self.forgets: frozenset[str] = frozenset()
        """Points that keep their value, whatever is written."""
        self.needs_heartbeat_s: float | None = None
        self.ramp_w_per_s = float("inf")
        self.writes: list[tuple[float, frozenset[str], tuple[int, ...]]] = []
        self.order_until_s = self.now_s = time.monotonic()
        self.beaten_s, self.beat = time.monotonic(), 0
        self.server: ModbusTcpServer | None = None
        self.port = 0
        self._begin()

    # --- what it does ---

    def advance(self) -> None:
        """Live up to now."""
        now_s = time.monotonic()
        dt_s, self.now_s = now_s - self.now_s, now_s
        if now_s >= self.order_until_s:
            self.order_w, self.order_until_s = self._reverted_w(), float("inf")
        if self.needs_heartbeat_s is not None and now_s - self.beaten_s > self.needs_heartbeat_s:
            self.order_w = 0.0
        wanted_w = max(-self.most_w, min(self.most_w, -self.order_w if self.does_opposite else self.order_w))
        step_w = self.ramp_w_per_s * dt_s
        self.power_w += max(-step_w, min(step_w, wanted_w - self.power_w))
        cells_w = self.power_w / WAY_FRAC if self.power_w > 0 else self.power_w * WAY_FRAC
        self.soc_frac = max(0.0, min(1.0, self.soc_frac - cells_w * dt_s / self.capacity_j))
        if (self.soc_frac <= 0 and self.power_w > 0) or (self.soc_frac >= 1 and self.power_w < 0):
            self.power_w = 0.0
        if not self.stuck:
            self.beat = (self.beat + 1) % 0xFFFF

    def _reverted_w(self) -> float:
        if 704 not in self.models:
            return 0.0
        enabled = self.map.raw(704, "WSetEnaRvrt") == 1
        self.map.put(704, WSetEna=int(enabled), WSet=self.map.raw(704, "WSetRvrt"))
        return self.map.raw(704, "WSetRvrt") * 10.0 if enabled else self.order_w

    def state(self) -> int:
        if self.soc_frac <= 0:
            return 2
        return 3 if self.power_w > 0 else 4 if self.power_w < 0 else 6

    # --- what its registers say ---

    def _begin(self) -> None:
        for model, values in {
            701: {"W_SF": 1, "InvSt": 3, "ConnSt": 1},
            704: {"WSetEna": 0, "WSetMod": 1, "WSet": 0, "WSet_SF": 1, "WSetRvrt": 300, "WSetEnaRvrt": 0,
                  "WSetRvrtTms": 0, "WSetRvrtRem": 0},
            713: {"WHRtg": 10_000, "Pct_SF": -2, "WH_SF": 0, "Sta": 0, "SoH": 9700},
            802: {"WHRtg": 10_000, "WHRtg_SF": 0, "WChaRteMax": 1000, "WDisChaRteMax": 1000, "WChaDisChaMax_SF": 1,
                  "SoC_SF": -1, "SoH": 97, "SoH_SF": 0, "W_SF": 1, "CtrlHb": 0, "State": 3, "Hb": 0, "LocRemCtl": 0},
            124: {"WChaMax": 1000, "WChaMax_SF": 1, "StorCtl_Mod": 0, "OutWRte": 10000, "InWRte": 10000,
                  "InOutWRte_SF": -2, "InOutWRte_WinTms": 5, "InOutWRte_RvrtTms": 0, "ChaState_SF": -1},
        }.items():  # fmt: skip
            if model in self.models:
                self.map.put(model, **values)
        self.map.text(1, "Mn", "Ampere & Sons")
        self.map.text(1, "Md", "P-10")

    def show(self) -> None:
        """Bring the registers up to date."""
        self.advance()
        shown_w = -self.power_w if self.tells_opposite else self.power_w
        told_frac = min(1.0, self.soc_frac + self.told_more_frac)
        left_s = max(0, round(self.order_until_s - self.now_s)) if self.order_until_s < float("inf") else 0
        for model, values in {
            701: {"W": round(shown_w / 10)},
            704: {"WSetRvrtRem": left_s},
            713: {"SoC": round(told_frac * 10000)},
            802: {"SoC": round(told_frac * 1000), "ChaSt": self.state(), "LocRemCtl": int(self.local), "Hb": self.beat,
                  "W": round(self.power_w / 10)},
            124: {"ChaState": round(told_frac * 1000), "ChaSt": self.state()},
        }.items():  # fmt: skip
            if model in self.models:
                self.map.put(model, **values)

    async def _asked(
        self, code: int, start: int, address: int, count: int, registers: list[int], values: list[int] | None
    ) -> ExcCodes | None:
        """Answer a request: pymodbus calls this before it reads or writes `registers`."""
        self.show()
        while self.deaf:
            await asyncio.sleep(0.05)
        if values is not None:
            names = frozenset(name for _, name in self.map.names(address - start, count))
            self.writes.append((self.now_s, names, tuple(values)))
            if self.refuses:
                return ExcCodes.ILLEGAL_VALUE
            kept = {key: self.map.raw(*key) for key in self.map.names(address - start, count) if key[1] in self.forgets}
            self.map.words[address - start : address - start + count] = values
            for (model, name), value in kept.items():
                self.map.put(model, **{name: value})
            self._take(names)
        registers[:] = self.map.words
        return None

    def _take(self, names: frozenset[str]) -> None:
        if "CtrlHb" in names:
            self.beaten_s = self.now_s
        if "WSetEna" in names:
            self.order_w = self.map.raw(704, "WSet") * 10.0 if self.map.raw(704, "WSetEna") else 0.0
            self._start_timer(self.map.raw(704, "WSetRvrtTms"))
        if names & {"OutWRte", "StorCtl_Mod"}:
            self.order_w = self.map.raw(124, "OutWRte") / 1e4 * self.most_w if self.map.raw(124, "StorCtl_Mod") else 0.0
            self._start_timer(self.map.raw(124, "InOutWRte_RvrtTms"))

    def _start_timer(self, seconds: int) -> None:
        self.order_until_s = self.now_s + seconds if seconds else float("inf")

    # --- its link ---

    async def connect(self) -> None:
        """Answer on the same port as before."""
        data = SimData(START, values=list(self.map.words), datatype=DataType.REGISTERS)
        device = SimDevice(1, [data], action=self._asked)
        self.server = ModbusTcpServer(device, address=("127.0.0.1", self.port))
        await self.server.serve_forever(background=True)
        assert self.server.transport is not None
        self.port = self.server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def disconnect(self) -> None:
        """Drop everyone, and answer nobody."""
        if self.server is not None:
            await self.server.shutdown()
            self.server = None

    @property
    def orders(self) -> list[frozenset[str]]:
        """The points of each write so far."""
        return [names for _, names, _ in self.writes]
