"""How a meter is reached: one part for each protocol. Secrets stand in files, read anew at each use, never here."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from wattlease.core.api_base import Part, mistake

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no web address; write http:// or https:// and the host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("a user, a password or a query in the address is not read; there are fields for them")
    return url.rstrip("/")


Host = Annotated[str, Field(min_length=1, max_length=253)]
Port = Annotated[int, Field(ge=1, le=65535)]
File = Annotated[str, Field(min_length=1, max_length=4096)]
Url = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_web_address)]
Scale = Annotated[float, Field(ge=-1e12, le=1e12)]
UnitId = Annotated[int, Field(ge=0, le=255)]


class SunSpecMeter(Part):
    """A SunSpec device over Modbus TCP; its power's place and scale are found by itself."""

    host: Host
    """Name or address."""

    port: Port = 502
    """TCP port."""

    unit_id: UnitId = 1
    """Modbus unit: which device behind that address."""

    model: Literal[201, 202, 203, 204, 211, 212, 213, 214, 701] | None = None
    """The SunSpec model that is read; absent: the first of these that the device has. Model 701 counts what is
    generated as positive, and is turned."""


class Register(Part):
    """One number in a device's registers."""

    address: Annotated[int, Field(ge=0, le=65535)]
    """As in the request: counted from 0, without the leading 3 or 4 of some manuals."""

    type: Literal["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
    """How the number is written there."""

    scale: Scale = 1.0
    """Watts that one stands for: 0.1 for tenths of a watt, 1000 for kilowatts, negative to turn the sign."""

    byte_order: Literal["ABCD", "CDAB", "BADC", "DCBA"] = "ABCD"
    """Order of the bytes: ABCD is the standard's, CDAB swaps words, BADC swaps the bytes of each word."""

    function: Literal["Holding", "Input"] = "Holding"
    """Which table is read: holding registers (function 3) or input registers (function 4)."""

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if self.scale == 0:
            raise mistake(("scale",), "0 would make every reading 0; write the watts that one stands for")
        return self


class ModbusMeter(Part):
    """A Modbus TCP device whose register map is written here."""

    host: Host
    """Name or address."""

    port: Port = 502
    """TCP port."""

    unit_id: UnitId = 1
    """Modbus unit: which device behind that address."""

    registers: Annotated[tuple[Register, ...], Field(min_length=1, max_length=32)]
    """Where the power stands; several, such as one for each phase, are summed."""


class SnmpMeter(Part):
    """A PDU or UPS that speaks SNMP."""

    host: Host
    """Name or address."""

    port: Port = 161
    """UDP port."""

    version: Literal["v2c", "v3"] = "v2c"
    """Version 3 signs and hides what is asked and answered."""

    community: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """Version 2c: the community, no secret worth the name; absent: public."""

    community_file: File | None = None
    """Version 2c: a file with the community."""

    user: Annotated[str, Field(min_length=1, max_length=32)] | None = None
    """Version 3: the user."""

    auth_protocol: Literal["SHA", "SHA256", "SHA384", "SHA512"] = "SHA256"
    """Version 3: how messages are signed."""

    auth_key_file: File | None = None
    """Version 3: a file with the passphrase that signs."""

    priv_protocol: Literal["AES128", "AES192", "AES256"] = "AES128"
    """Version 3: how messages are hidden."""

    priv_key_file: File | None = None
    """Version 3: a file with the passphrase that hides; absent: messages are signed only."""

    context: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """Version 3: the context, where an agent speaks for several devices; absent: the agent's own."""

    mib: Literal["ApcRpdu2", "Ups1628", "Ups1628Input", "RaritanPdu2"] | None = None
    """What the device is: an APC rack PDU (rPDU2), a UPS by RFC 1628 (its output, or what its input draws), a Raritan
    PDU."""

    index: Annotated[int, Field(ge=1, le=65535)] = 1
    """With `mib`: which PDU of a chain (APC), or which inlet (Raritan)."""

    oid: Annotated[str, Field(pattern=r"^\.?[0-9]+(\.[0-9]+){2,127}$")] | None = None
    """Instead of `mib`: the object that holds the power, complete with its instance (such as `.0`)."""

    scale: Scale = 1.0
    """With `oid`: watts that one stands for."""

    @model_validator(mode="after")
    def _one_object(self) -> Self:
        if (self.mib is None) == (self.oid is None):
            what = "both mib and oid are written; keep one" if self.mib else "is missing; write mib, or the power's oid"
            raise mistake(("mib",), what)
        if self.mib and self.scale != 1.0:
            raise mistake(("scale",), f"{self.scale:g} goes with oid only; {self.mib} has its own scale")
        if self.scale == 0:
            raise mistake(("scale",), "0 would make every reading 0; write the watts that one stands for")
        return self

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        keys = {"authKeyFile": self.auth_key_file, "privKeyFile": self.priv_key_file}
        signed = {"user": self.user, **keys, "context": self.context}
        plain = {"community": self.community, "communityFile": self.community_file}
        for field, value in (plain if self.version == "v3" else signed).items():
            if value is not None:
                other = "v2c" if self.version == "v3" else "v3"
                raise mistake((field,), f"goes with version {other} only; leave it out, or write version: {other}")
        if self.version == "v3" and not (self.user and self.auth_key_file):
            field = "authKeyFile" if self.user else "user"
            raise mistake((field,), f"is missing; version v3 asks as a user that signs: add {field}")
        if self.community and self.community_file:
            raise mistake(("community",), "is written beside communityFile; keep one of them")
        return self


class RedfishMeter(Part):
    """A rack PDU or power shelf that speaks Redfish."""

    url: Url
    """Such as https://10.0.0.9; without TLS only on loopback where a password is sent."""

    path: Annotated[str, Field(pattern=r"^/redfish/v1/.+")] | None = None
    """The PDU's page (or a sensor's); absent: the only one below /redfish/v1/PowerEquipment/RackPDUs."""

    user_file: File | None = None
    """A file with the account's name; one that may only read is enough."""

    password_file: File | None = None
    """A file with its password."""

    ca_file: File | None = None
    """Who signed the device's certificate, or that certificate; absent: the system's authorities."""

    @model_validator(mode="after")
    def _account_is_whole(self) -> Self:
        _whole_account(self.user_file, self.password_file)
        parts = urlsplit(self.url)
        if self.password_file and parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise mistake(("url",), f"{self.url!r} would carry the password readable; write https://")
        return self


class PrometheusMeter(Part):
    """A number that a Prometheus, or what speaks its API, holds already."""

    url: Url
    """Such as http://prometheus.monitoring:9090."""

    query: Annotated[str, Field(min_length=1, max_length=4096)]
    """PromQL that gives one number in watts."""

    age_query: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """PromQL that gives the time of the oldest sample in it, such as `min(timestamp(pdu_watts))`; absent:
    `timestamp(query)`, which sees through a plain series only: what is computed always looks new."""

    token_file: File | None = None
    """A file with a bearer token."""

    ca_file: File | None = None
    """Who signed the server's certificate; absent: the system's authorities."""


class MqttMeter(Part):
    """A value that is published to an MQTT broker."""

    host: Host
    """The broker's name or address."""

    port: Port | None = None
    """TCP port; absent: 8883 with TLS, 1883 without."""

    topic: Annotated[str, Field(min_length=1, max_length=1024)]
    """Where the power is published."""

    field: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """Where the number stands in a JSON message, such as `ENERGY.Power` or `phases.0.watts`; absent: the message is
    the number."""

    scale: Scale = 1.0
    """Watts that one stands for."""

    time_field: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """Where the time of measuring stands: unix seconds, or ISO 8601 with its zone. Without it a retained message,
    which may be of any age, is not believed."""

    alive_topic: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Where the meter's own last will is published."""

    gone_word: Annotated[str, Field(min_length=1, max_length=255)] = "offline"
    """What its last will says."""

    user_file: File | None = None
    """A file with the account's name."""

    password_file: File | None = None
    """A file with its password."""

    tls: bool = False
    """Whether the broker is asked over TLS."""

    ca_file: File | None = None
    """Who signed the broker's certificate; absent: the system's authorities."""

    @model_validator(mode="after")
    def _one_topic(self) -> Self:
        for name, topic in (("topic", self.topic), ("aliveTopic", self.alive_topic)):
            if topic and ("+" in topic or "#" in topic):
                raise mistake((name,), f"{topic!r} stands for many topics; write the one of this meter")
        if self.scale == 0:
            raise mistake(("scale",), "0 would make every reading 0; write the watts that one stands for")
        return self

    @model_validator(mode="after")
    def _account_is_whole(self) -> Self:
        _whole_account(self.user_file, self.password_file)
        if self.ca_file and not self.tls:
            raise mistake(("caFile",), "goes with TLS only; write tls: true")
        if self.password_file and not self.tls and self.host not in LOOPBACK:
            raise mistake(("tls",), "is missing; without it the password would travel readable: write tls: true")
        return self


def _whole_account(user_file: str | None, password_file: str | None) -> None:
    if (user_file is None) != (password_file is None):
        missing = "userFile" if user_file is None else "passwordFile"
        raise mistake((missing,), f"is missing; an account is a user and a password: add {missing}")
