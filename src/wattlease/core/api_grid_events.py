"""How the grid's events arrive: from a VTN by OpenADR 2.0b, from a file, or by a call; and which are taken."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from wattlease.core.api_base import Part, Seconds, SomePercent, Watts, mistake
from wattlease.core.api_reach import LOOPBACK, File, Host, Port, Url


def _fingerprint(text: str) -> str:
    if not re.fullmatch("([0-9A-F]{2}:){9}[0-9A-F]{2}", text):
        raise ValueError(f"{text!r} is no fingerprint of OpenADR; write ten pairs of hex digits, A1:B2:...")
    return text


class Level(Part):
    """What a level of the grid's SIMPLE signal leaves of the limit: in percent or in watts."""

    limit_percent: SomePercent | None = None
    """Percent of `limitWatts`."""

    limit_watts: Watts | None = None
    """Watts."""

    @model_validator(mode="after")
    def _one_word(self) -> Self:
        if (self.limit_percent is None) == (self.limit_watts is None):
            raise mistake((), "needs one of limitPercent and limitWatts")
        return self


class SimpleLevels(Part):
    """What the levels of a SIMPLE signal mean here; level 0 is normal operation and limits nothing."""

    moderate: Level = Level(limit_percent=90)
    """Level 1."""

    high: Level = Level(limit_percent=75)
    """Level 2."""

    special: Level = Level(limit_percent=50)
    """Level 3."""


class OpenAdr(Part):
    """A virtual end node (VEN) of OpenADR 2.0b that polls a utility's or aggregator's server (VTN)."""

    vtn_url: Url
    """Such as https://vtn.example.org/OpenADR2/Simple/2.0b; without TLS only on loopback."""

    ven_name: Annotated[str, Field(min_length=1, max_length=128)]
    """What the VTN knows this site as."""

    ven_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The id that the VTN gave beforehand; absent: it gives one at registration."""

    certificate_file: File | None = None
    """The VEN's certificate, PEM."""

    key_file: File | None = None
    """Its key, PEM."""

    ca_file: File | None = None
    """Who signed the VTN's certificate."""

    vtn_fingerprint: Annotated[str, AfterValidator(_fingerprint)] | None = None
    """The VTN's fingerprint as OpenADR writes it; then only messages that it signed are believed."""

    signed: bool = True
    """Whether messages are signed with the certificate; VTN of the standard security level do without."""

    poll_seconds: Annotated[int, Field(ge=1, le=3600)] = 10
    """The longest time between two polls; the VTN may ask for a shorter one."""

    simple: SimpleLevels = SimpleLevels()
    """What the levels of SIMPLE signals mean."""

    dispatch_unit: Literal["W", "kW", "MW"] = "kW"
    """The unit of a LOAD_DISPATCH signal that names none."""

    delta_less: Literal["Negative", "Positive", "Either"] = "Either"
    """Which sign of a LOAD_DISPATCH delta asks for less load. VTN differ; Either takes both as a cut."""

    delta_from: Literal["Draw", "Limit"] = "Draw"
    """What a delta is taken from: the mean draw of the quarter of an hour before it starts, or `limitWatts`."""

    missing_is_cancelled: bool = True
    """Whether an event that the VTN leaves out of its newest list is over, as OpenADR has it. Write false for a VTN
    that sends each event alone."""

    resource_id: Annotated[str, Field(min_length=1, max_length=128)] = "site"
    """The resource that telemetry of the site's power is reported for."""

    @model_validator(mode="after")
    def _certificate_is_whole(self) -> Self:
        files = {"certificateFile": self.certificate_file, "keyFile": self.key_file, "caFile": self.ca_file}
        missing = [name for name, file in files.items() if file is None]
        if missing and len(missing) < len(files):
            raise mistake((missing[0],), f"is missing; OpenADR's TLS takes {', '.join(files)} together")
        parts = urlsplit(self.vtn_url)
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise mistake(("vtnUrl",), f"{self.vtn_url!r} could be answered by anyone; write https://")
        return self


class EventFile(Part):
    """A YAML file with a list of events, as they stand in `demandResponse`; the whole list, each time."""

    path: File
    """Looked at every two seconds; a list with a mistake is refused, and the one before stays."""


class EventCalls(Part):
    """Events by HTTP: POST and DELETE below /v1/events, with a bearer token."""

    host: Host = "127.0.0.1"
    """Address to listen on; beyond loopback it needs a certificate."""

    port: Port = 8790
    """TCP port."""

    token_file: File
    """A file with the token that callers must show, at least 16 characters."""

    certificate_file: File | None = None
    """The server's certificate, PEM."""

    key_file: File | None = None
    """Its key, PEM."""

    @model_validator(mode="after")
    def _token_stays_secret(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            missing = "keyFile" if self.key_file is None else "certificateFile"
            raise mistake((missing,), f"is missing; TLS takes a certificate and its key: add {missing}")
        if self.host not in LOOPBACK and not self.certificate_file:
            raise mistake(("certificateFile",), f"is missing; on {self.host} the token would travel readable")
        return self


class GridEvents(Part):
    """Where events of the grid come from, and which of them are taken."""

    open_adr: OpenAdr | None = None
    """From a VTN."""

    file: EventFile | None = None
    """From a file."""

    http: EventCalls | None = None
    """By a call."""

    opt_out_below_watts: Watts | None = None
    """An event that asks for less is not taken: opted out of, or refused; absent: `guaranteedWatts`."""

    least_notice_seconds: Seconds = 0
    """An event that starts sooner after it was heard of is not taken."""

    ramp_seconds: Seconds = 0
    """How long before an OpenADR event starts the limit begins to fall, in a straight line."""

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> Self:
        if not (self.open_adr or self.file or self.http):
            raise mistake((), "names no source; write openAdr, file or http, or leave it out")
        return self
