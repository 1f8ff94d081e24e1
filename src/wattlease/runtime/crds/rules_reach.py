"""What must hold where a meter, a market or the grid is reached: one way, a whole account, no secret readable."""

from __future__ import annotations

from wattlease.core.api_base import Part
from wattlease.core.api_grid_events import EventCalls, GridEvents, Level, OpenAdr
from wattlease.core.api_meters import SLOW, WAYS, Meter
from wattlease.core.api_reach import (
    LOOPBACK,
    MqttMeter,
    PrometheusMeter,
    RedfishMeter,
    Register,
    SnmpMeter,
)
from wattlease.core.api_tariff import ElectricityMaps, EntsoE, PriceFeed
from wattlease.runtime.crds.rule import Rule, both_or_none

_HOSTS = r"([A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_WEB_ADDRESS = rf"^(?i:https?)://{_HOSTS}(/[^?#]*)?$"
_SEALED = r"^(?i:https://|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]*)?(/|$))"

_LOOPBACK = str(list(LOOPBACK))
_COUNTS = Rule("scale", "self.scale != 0.0", "0 would make every reading 0; write the watts that one stands for")
_ACCOUNT = both_or_none("userFile", "passwordFile", "an account is a user and a password")


def _matches(field: str, pattern: str) -> str:
    return f"self.{field}.matches(r'{pattern}')"


def _web_address(field: str) -> Rule:
    text = "is no web address; write http:// or https:// and the host, without a user, a password or a query"
    return Rule(field, _matches(field, _WEB_ADDRESS), text)


def _sealed(field: str, where: str, why: str) -> Rule:
    """An address that must be of TLS or loopback, wherever the condition `where` does not hold."""
    return Rule(field, f"{where}{_matches(field, _SEALED)}", f"{why}; write https://")


def _shaped(field: str, pattern: str, what: str, example: str) -> Rule:
    return Rule(field, _matches(field, f"^{pattern}$"), f"{{self.{field}}} is no {what}; write such as {example}")


def _way(kind: str, field: str, example: str) -> tuple[Rule, Rule]:
    """A meter has the object of its kind, and of no other."""
    return (
        Rule(
            field,
            f"self.kind != '{kind}' || has(self.{field})",
            f"is missing; a meter of kind {kind} needs {field}, such as {field}: {example}",
        ),
        Rule(
            field,
            f"self.kind == '{kind}' || !has(self.{field})",
            f"does not go with kind {{self.kind}}; leave it out, or write kind: {kind}",
        ),
    )


_EVERY = f"(has(self.pollSeconds) ? self.pollSeconds : (self.kind in {list(SLOW)} ? 5 : 1))"

_METER = (
    Rule(
        "maxWatts",
        "!has(self.maxWatts) || self.maxWatts > self.minWatts",
        "{self.maxWatts} is not above minWatts {self.minWatts}; write the highest plausible reading",
    ),
    Rule(
        "staleSeconds",
        "self.staleSeconds > self.delaySeconds",
        "{self.staleSeconds} is not above delaySeconds {self.delaySeconds}; no reading would ever count",
    ),
    Rule(
        "pollSeconds",
        f"{_EVERY} <= self.staleSeconds",
        f"{{{_EVERY}}} is above staleSeconds {{self.staleSeconds}}; a reading would age out each time",
    ),
    Rule(
        "feed",
        "!has(self.feed) || self.measures == 'Feed'",
        "does not go with measures: {self.measures}; leave it out",
    ),
    *(rule for kind, (field, example) in WAYS.items() for rule in _way(kind, field, example)),
)


def _version(field: str, version: str, other: str) -> Rule:
    text = f"goes with version {version} only; leave it out, or write version: {version}"
    return Rule(field, f"self.version != '{other}' || !has(self.{field})", text)


_SNMP = (
    Rule("mib", "has(self.mib) || has(self.oid)", "is missing; write mib, or the power's oid"),
    Rule("mib", "!has(self.mib) || !has(self.oid)", "both mib and oid are written; keep one"),
    Rule(
        "scale",
        "!has(self.mib) || self.scale == 1.0",
        "{self.scale} goes with oid only; a mib has its own scale, so leave it out",
    ),
    _COUNTS,
    *(_version(field, "v2c", "v3") for field in ("community", "communityFile")),
    *(_version(field, "v3", "v2c") for field in ("user", "authKeyFile", "privKeyFile", "context")),
    *(
        Rule(
            field,
            f"self.version != 'v3' || has(self.{field})",
            f"is missing; version v3 asks as a user that signs: add {field}",
        )
        for field in ("user", "authKeyFile")
    ),
    Rule(
        "community",
        "!has(self.community) || !has(self.communityFile)",
        "is written beside communityFile; keep one of them",
    ),
)

_MQTT = (
    *(
        Rule(
            field,
            f"!has(self.{field}) || !(self.{field}.contains('+') || self.{field}.contains('#'))",
            "stands for many topics; write the one of this meter",
        )
        for field in ("topic", "aliveTopic")
    ),
    _COUNTS,
    *_ACCOUNT,
    Rule("caFile", "!has(self.caFile) || self.tls", "goes with TLS only; write tls: true"),
    Rule(
        "tls",
        f"!has(self.passwordFile) || self.tls || self.host in {_LOOPBACK}",
        "is missing; without it the password would travel readable: write tls: true",
    ),
)

_WHOLE = "OpenADR's TLS takes certificateFile, keyFile, caFile together"
_MARKET = (_web_address("url"), _sealed("url", "", "would carry the token readable"))

REACH: dict[type[Part], tuple[Rule, ...]] = {
    Meter: _METER,
    Register: (_COUNTS,),
    SnmpMeter: _SNMP,
    RedfishMeter: (
        _web_address("url"),
        *_ACCOUNT,
        _sealed("url", "!has(self.passwordFile) || ", "would carry the password readable"),
    ),
    PrometheusMeter: (_web_address("url"),),
    MqttMeter: _MQTT,
    Level: (Rule("", "has(self.limitPercent) != has(self.limitWatts)", "needs one of limitPercent and limitWatts"),),
    OpenAdr: (
        _web_address("vtnUrl"),
        _sealed("vtnUrl", "", "could be answered by anyone"),
        *(
            Rule(
                field,
                f"has(self.{field}) || !({' || '.join(f'has(self.{other})' for other in others)})",
                f"is missing; {_WHOLE}",
            )
            for field, *others in (
                ("certificateFile", "keyFile", "caFile"),
                ("keyFile", "certificateFile", "caFile"),
                ("caFile", "certificateFile", "keyFile"),
            )
        ),
        Rule(
            "vtnFingerprint",
            "!has(self.vtnFingerprint) || " + _matches("vtnFingerprint", "^([0-9A-F]{2}:){9}[0-9A-F]{2}$"),
            "is no fingerprint of OpenADR; write ten pairs of hex digits, A1:B2:...",
        ),
    ),
    EventCalls: (
        *both_or_none("certificateFile", "keyFile", "TLS takes a certificate and its key"),
        Rule(
            "certificateFile",
            f"has(self.certificateFile) || self.host in {_LOOPBACK}",
            "is missing; on {self.host} the token would travel readable",
        ),
    ),
    GridEvents: (
        Rule(
            "",
            "has(self.openAdr) || has(self.file) || has(self.http)",
            "names no source; write openAdr, file or http, or leave it out",
        ),
    ),
    EntsoE: (
        _shaped("zone", "[0-9A-Z-]{16}", "EIC of a bidding zone", "10Y1001A1001A82H"),
        _shaped("currency", "[A-Z]{3}", "currency", "EUR"),
        *_MARKET,
    ),
    ElectricityMaps: (_shaped("zone", "[A-Z]{2}[A-Z0-9-]{0,30}", "zone of Electricity Maps", "DE"), *_MARKET),
    PriceFeed: (
        Rule(
            "",
            "has(self.file) || has(self.entsoE) || has(self.electricityMaps)",
            "names no feed; write file, entsoE or electricityMaps, or leave it out",
        ),
    ),
}
