"""The forecast of one scope, kept going: noted each tick, trained in the background, asked when it is wanted.

Rule 1: nothing here waits for training or for a disk that is full; a tick costs microseconds, a new minute a few
milliseconds.
Rule 2: without fresh readings, or with less than a day of record, there is no forecast, and the core looks ahead by the
jobs that it knows.
"""

from __future__ import annotations

import logging
import math
from datetime import UTC
from pathlib import Path

from wattlease.core.model import Forecast
from wattlease.facility.forecast.background import EVERY_S, YOUNG_EVERY_S, Background
from wattlease.facility.forecast.fast import Fast
from wattlease.facility.forecast.features import Past
from wattlease.facility.forecast.history import History
from wattlease.facility.forecast.minutes import MINUTE_S, Minute, OpenMinute, series_of
from wattlease.facility.forecast.model import DAYS, HOUR, RANGES
from wattlease.facility.forecast.note import NOTHING, Known
from wattlease.facility.forecast.outlook import DAYS_STEPS_S, HOUR_STEPS_S, Ahead, ahead, fallback_alone, joined
from wattlease.facility.forecast.predicting import Ready, ready
from wattlease.facility.forecast.process import MODELS
from wattlease.facility.forecast.series import DAY_S, Series
from wattlease.facility.forecast.standing import Standing, standing
from wattlease.facility.forecast.store import load
from wattlease.runtime.lease.said import Said
from wattlease.runtime.zones import zone

LEAST_RECORD_S = DAY_S
YOUNG_S = 14 * DAY_S
SEEN_STEPS = round(28 * DAY_S / MINUTE_S)
"""Minutes in memory: the weeks that a forecast compares with."""

STALE_S = 300.0
OLD_S = 14 * DAY_S
"""A model that was not renewed for this long is no longer used; its fallback is."""

log = logging.getLogger(__name__)


class ScopeForecast:
    """The forecast of one scope, with its record and its models in `folder`; `zone_name` is the site's, for calendars.

    Give it each tick with `note`, let it look after its training with `tend`, and ask `forecasts` when needed. `said`
    is shared by the scopes of a site, so that what is missing for all of them is said once.
    """

    def __init__(self, folder: Path, zone_name: str = "UTC", *, trains: bool = True, said: Said | None = None) -> None:
        self._folder, self._history, self._said = folder, History(folder), said or Said(log)
        self._zone = zone(zone_name) or UTC
        self._background = Background(folder, zone_name if zone(zone_name) else "UTC") if trains else None
        self._open, self._seconds, self._known = OpenMinute(), Fast(), NOTHING
        self._series = _remembered(self._history)
        self._longer: list[Ahead] = []
        self._models: dict[str, Ready] = {}
        self._trouble = ""
        self._load()
        self._asked_s = self._trained_s()

    @property
    def training(self) -> bool:
        """Whether a training runs now."""
        return self._background is not None and self._background.running

    def note(self, now_s: float, draw_w: float, known: Known = NOTHING) -> None:
        """A tick: the draw with nothing held back (`note.wanted_w`) and, at times, what is known ahead."""
        if now_s < self._seconds.last_s - STALE_S:  # the clock was set back: what was seen is of another time
            self._seconds, self._open = Fast(), OpenMinute()
        self._seconds = self._seconds.seen(now_s, draw_w)
        if known is not NOTHING:
            self._known = known
        self._open, closed = self._open.noted(now_s, draw_w, known)
        if closed is not None:
            self._keep(closed)

    def tend(self, now_s: float) -> None:
        """Start a training when it is due and take over its models when they are there."""
        if self._background is None:
            return
        if self._background.finished(now_s):
            self._load()
        if self._background.trouble:
            self._said.once(logging.WARNING, f"forecast of {self._folder}", self._background.trouble)
        every_s = YOUNG_EVERY_S if self._series.known_s < YOUNG_S else EVERY_S
        if self._series.known_s >= LEAST_RECORD_S and not 0.0 <= now_s - self._asked_s < every_s:
            self._asked_s = now_s
            self._background.start(now_s)

    def forecasts(self, scope_index: int, now_s: float) -> tuple[Forecast, ...]:
        """One forecast from seconds to two days ahead, or none (rule 2)."""
        from_s = (self._seconds.last_s, self._series.end_s)
        if not self._longer or not all(abs(now_s - each_s) <= STALE_S for each_s in from_s):
            return ()
        soon = (self._known.starting_w[0], self._known.ending_w[0])
        seconds_w = self._seconds.foresee_w(*(w if math.isfinite(w) else 0.0 for w in soon))
        return (joined(scope_index, now_s, seconds_w, self._longer),)

    def standing(self) -> Standing:
        """Which model is in force at each horizon, and its skill."""
        trouble = self._background.trouble if self._background else ""
        note = "; ".join(t for t in (self._trouble, trouble, self._too_short()) if t)
        return standing((m.model for m in self._models.values()), note)

    def close(self) -> None:
        """End a training that is running."""
        if self._background is not None:
            self._background.stop()

    def _keep(self, minute: Minute) -> None:
        try:
            self._history.append(minute)
            self._said.forget("record")
        except OSError as error:
            self._said.once(
                logging.WARNING, "record", f"{self._folder}: {error.strerror}; these minutes are not learned"
            )
        self._series = self._series.then(series_of([minute]), SEEN_STEPS)
        self._look_ahead()

    def _load(self) -> None:
        found = load(self._folder / MODELS)
        if isinstance(found, str):
            self._trouble = found
            self._said.once(logging.WARNING, "forecast", found)
            return
        self._models, self._trouble = found, ""
        for note in sorted({one.model.note for one in found.values()} - {""}):
            self._said.once(logging.WARNING, "forecast", note)
        self._look_ahead()

    def _trained_s(self) -> float:
        """When the models that were found were made, unix seconds; long ago where something in them is missing."""
        found = [one.model for one in self._models.values()]
        whole = len(found) == len(RANGES) and not any(model.note for model in found)
        return max(model.until_s for model in found) if whole else -math.inf

    def _look_ahead(self) -> None:
        """Foresee the hour and the days anew, from the end of the record."""
        self._longer = []
        if self._series.known_s < LEAST_RECORD_S or len(self._models) < len(RANGES):
            return
        for name, ahead_s in ((HOUR.name, HOUR_STEPS_S), (DAYS.name, DAYS_STEPS_S)):
            model = self._models[name]
            if self._series.end_s - model.model.until_s > OLD_S:
                model = ready(fallback_alone(model.model))
            past = Past(self._series.coarser(model.model.step_s), self._zone)
            self._longer.append(ahead(model, past, ahead_s))

    def _too_short(self) -> str:
        known_s = self._series.known_s
        return f"{known_s / 3600:.1f} h of record, a forecast needs 24" if known_s < LEAST_RECORD_S else ""


def _remembered(history: History) -> Series:
    """The newest weeks of the record."""
    series = series_of(list(history.minutes(SEEN_STEPS // round(7 * DAY_S / MINUTE_S) + 1)))
    return series.part(len(series) - SEEN_STEPS, len(series))
