"""A virtual end node (VEN): polls the grid's server (VTN), answers for each event, and reports the site's power.

openleadr speaks the protocol. What it does not do is done here: register again for as long as that fails, see that a
VTN has fallen silent or forgotten us, take an event that is left out of the newest list as cancelled, and say each
trouble once. A VTN that is away takes no event away.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from openleadr import OpenADRClient, objects  # type: ignore[import-untyped]

from wattlease.core.api_grid_events import GridEvents
from wattlease.facility.events.book import Book
from wattlease.facility.events.openadr_words import Words, event_of
from wattlease.runtime.lease.said import Said
from wattlease.runtime.waiting import set_within

FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 300.0
SILENT_POLLS = 6
LEAST_SILENCE_S = 60.0
"""A VTN that answered nothing for so many polls, and so long, is registered with anew."""

OK = 200
IN, OUT = "optIn", "optOut"


class _ThroughSaid(logging.Filter):
    """openleadr warns at every poll that fails: its warnings are said once each, and otherwise not."""

    def __init__(self, said: Said) -> None:
        super().__init__()
        self._said = said
        self.last_error = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno == logging.ERROR and "Error:" in record.getMessage():
            self.last_error = record.getMessage()[:200]
        if record.levelno >= logging.WARNING:
            self._said.once(logging.WARNING, "openadr", record.getMessage())
        return False


class _Client(OpenADRClient):  # type: ignore[misc] # openleadr is not typed
    """The library's client, polling at least as often as the settings say, reporting only what is known."""

    poll_frequency: timedelta | None
    longest_poll: timedelta
    knows: Callable[[], bool]

    async def create_party_registration(self, *args: Any, **kwargs: Any) -> Any:
        answer = await super().create_party_registration(*args, **kwargs)
        if self.poll_frequency:
            self.poll_frequency = min(self.poll_frequency, self.longest_poll)
        return answer

    async def update_report(self, report_request_id: str) -> None:
        # a report without a value has no interval, which is no valid report
        if self.knows():
            await super().update_report(report_request_id)


class Ven:
    """One site at one VTN. `trouble` is why it is not heard, `heard_s` (unix seconds) when it last was."""

    def __init__(
        self, settings: GridEvents, book: Book, draw_w: Callable[[], float | None],
        clock: Callable[[], float], said: Said,
    ) -> None:  # fmt: skip
        assert settings.open_adr
        self._settings, self._adr, self._book = settings, settings.open_adr, book
        self._draw_w, self._clock, self._said = draw_w, clock, said
        self._ven_id = settings.open_adr.ven_id
        self._library = _ThroughSaid(said)
        self._lost = asyncio.Event()
        self._heard = asyncio.Event()
        self.heard_s: float | None = None
        self.trouble = "not registered yet"

    async def run(self) -> None:
        """Stay registered until cancelled."""
        library = logging.getLogger("openleadr")
        library.addFilter(self._library)
        logging.getLogger("apscheduler").setLevel(logging.WARNING)  # tells of every poll otherwise
        failures = 0
        try:
            while True:
                registered = await self._session()
                failures = 0 if registered else failures + 1
                await asyncio.sleep(min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(failures, 10)))
        finally:
            library.removeFilter(self._library)

    async def _session(self) -> bool:
        """Register, and stay until the VTN is lost; returns whether it ever was there."""
        self._lost.clear()
        self._library.last_error = "it refuses"
        client: OpenADRClient | None = None
        try:
            client = self._client()
            await client.run()
            if not client.registration_id:
                why = self._library.last_error
                self._in_trouble(f"{self._adr.vtn_url}: gives no registration to {self._adr.ven_name} ({why})")
                return False
            self._ven_id = client.ven_id
            self.trouble = ""
            self._said.forget("openadr")
            self._said.once(logging.INFO, "openadr", f"registered at {self._adr.vtn_url} as {client.ven_id}")
            await self._until_lost(client.poll_frequency.total_seconds())
            return True
        except Exception as error:  # the library lets through whatever a strange answer makes it raise
            self._in_trouble(f"{self._adr.vtn_url}: {type(error).__name__}: {error}")
            return False
        finally:
            if client is not None and client.client_session is not None:
                await client.stop()

    def _client(self) -> OpenADRClient:
        adr = self._adr
        client = _Client(
            ven_name=adr.ven_name, vtn_url=adr.vtn_url, ven_id=self._ven_id, cert=adr.certificate_file,
            key=adr.key_file, ca_file=adr.ca_file, vtn_fingerprint=adr.vtn_fingerprint, show_fingerprint=False,
            disable_signature=not adr.signed,
        )  # fmt: skip
        client.knows = lambda: self._draw_w() is not None
        client.longest_poll = timedelta(seconds=adr.poll_seconds)
        # an event that the VTN repeats after we cancelled it is answered as it was, and does not upset the others
        client.responded_events = defaultdict(lambda: IN)
        client.add_handler("on_event", self._on_event)
        client.add_handler("on_update_event", self._on_event)
        client.add_hook("after_parse_xml", self._on_message)
        client.add_report(
            self._telemetry, adr.resource_id, measurement="powerReal", unit="W", scale="none",
            report_specifier_id="wattlease", r_id="site-power", report_duration=timedelta(hours=1),
            sampling_rate=objects.SamplingRate(timedelta(seconds=1), timedelta(hours=1), False),
        )  # fmt: skip
        return client

    async def _until_lost(self, poll_s: float) -> None:
        patience_s = max(LEAST_SILENCE_S, SILENT_POLLS * poll_s)
        while not self._lost.is_set():
            self._heard.clear()
            if not await set_within(self._heard, patience_s):
                self._in_trouble(f"{self._adr.vtn_url}: not heard for {patience_s:.0f} s; its events hold on")
                return

    async def _on_message(self, kind: str, message: Words) -> None:
        """Every answer of the VTN, before the library acts on it."""
        self.heard_s = self._clock()
        self._heard.set()
        code = (message.get("response") or {}).get("response_code", OK)
        if code != OK or kind == "oadrCancelPartyRegistration":
            self._in_trouble(f"{self._adr.vtn_url}: answers {kind} with code {code}")
            self._lost.set()
        elif kind == "oadrDistributeEvent" and self._adr.missing_is_cancelled:
            listed = {str(event["event_descriptor"]["event_id"])[:128] for event in message.get("events", ())}
            await self._book.keep_only("openadr", listed)

    async def _on_event(self, told: Words) -> str:
        """Take an event or opt out of it."""
        event = event_of(told, self._settings, self._book.terms.limit_w, self._clock())
        if told["event_descriptor"]["event_status"] in ("cancelled", "completed"):
            await self._book.drop("openadr", event.id)
            return IN
        if event.from_draw:
            known = self._book.of("openadr", event.id)
            base_w = known.base_w if known and known.base_w is not None else self._draw_w()
            event = event.on_base(base_w)
        taken = await self._book.put(event)
        return OUT if taken.refused else IN

    def _telemetry(self) -> list[tuple[datetime, float]]:
        draw_w = self._draw_w()
        return [] if draw_w is None else [(datetime.now(UTC), draw_w)]

    def _in_trouble(self, why: str) -> None:
        self.trouble = why
        self._said.once(logging.WARNING, "openadr", why)
