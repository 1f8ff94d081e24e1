"""A PDU or UPS over SNMP, versions 2c and 3."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from pysnmp.error import PySnmpError
from pysnmp.hlapi.v3arch import asyncio as hlapi
from pysnmp.proto.rfc1905 import EndOfMibView, NoSuchInstance, NoSuchObject

from wattlease.core.api_reach import SnmpMeter
from wattlease.facility.meters.reading import Measured, Refusal, Trouble
from wattlease.facility.meters.secret_files import secret
from wattlease.facility.meters.snmp_get import get
from wattlease.facility.meters.snmp_mibs import MIBS, Answers, Mib

AUTH = {
    "SHA": hlapi.USM_AUTH_HMAC96_SHA,
    "SHA256": hlapi.USM_AUTH_HMAC192_SHA256,
    "SHA384": hlapi.USM_AUTH_HMAC256_SHA384,
    "SHA512": hlapi.USM_AUTH_HMAC384_SHA512,
}
PRIV = {
    "AES128": hlapi.USM_PRIV_CFB128_AES,
    "AES192": hlapi.USM_PRIV_CFB192_AES,
    "AES256": hlapi.USM_PRIV_CFB256_AES,
}
KEY_MIN = 8
"""Letters of a passphrase (RFC 3414); agents refuse a shorter one."""


class Snmp:
    """One agent. It is asked once more after half of the time, for datagrams get lost."""

    def __init__(self, reach: SnmpMeter, timeout_s: float) -> None:
        self._reach, self._timeout_s = reach, timeout_s
        self._name = f"{reach.host}:{reach.port}"
        self._engine: Any = None
        self._target: Any = None
        self._context = hlapi.ContextData(contextName=(reach.context or "").encode())
        self._mib = MIBS[reach.mib] if reach.mib else _plain(reach)

    async def read(self) -> Measured | Trouble:
        """All objects in one request."""
        try:
            answers = await self._asked(self._mib.asked(self._reach.index))
        except (PySnmpError, OSError) as error:
            answers = Trouble(f"{self._name}: {error}", "check host and port")
        if isinstance(answers, Trouble):
            if not isinstance(answers, Refusal):
                await self.close()  # a new engine forgets keys and clocks of an agent that was replaced
            return answers
        found = self._mib.understood(answers)
        return Trouble(f"{self._name}: {found.text}", found.fix) if isinstance(found, Trouble) else found

    async def close(self) -> None:
        """Let go of the socket."""
        if self._engine is not None:
            self._engine.close_dispatcher()
        self._engine = self._target = None

    async def _asked(self, oids: tuple[str, ...]) -> Answers | Trouble:
        who = self._who()
        if isinstance(who, Trouble):
            return who
        if self._engine is None:
            # an engine of its own: two agents may know one user by different keys; it takes 0.1 s of reckoning
            self._engine = await asyncio.to_thread(hlapi.SnmpEngine)
        if self._target is None:
            kind = hlapi.Udp6TransportTarget if ":" in self._reach.host else hlapi.UdpTransportTarget
            address = (self._reach.host, self._reach.port)
            self._target = await kind.create(address, timeout=self._timeout_s / 2, retries=1)
        try:
            async with asyncio.timeout(self._timeout_s):  # its own clock counts in half seconds, and late
                answer = await get(self._engine, who, self._target, self._context, oids)
        except TimeoutError:
            return self._no_answer("timeout")
        silence, refused, at, bound = answer
        if silence:
            return self._no_answer(str(silence))
        if refused:
            return Refusal(
                f"{self._name}: refuses {oids[int(at) - 1]}: {refused.prettyPrint()}", "check the account's view"
            )
        return self._numbers(oids, [value for _, value in bound])

    def _who(self) -> Any:
        """The account, its secrets read anew; Trouble where one cannot be had."""
        reach = self._reach
        if reach.version == "v2c":
            name = secret(reach.community_file) if reach.community_file else reach.community or "public"
            return name if isinstance(name, Trouble) else hlapi.CommunityData(name, mpModel=1)
        keys: list[str | None] = []
        for path in (reach.auth_key_file, reach.priv_key_file):
            key = secret(path) if path else None
            if isinstance(key, Trouble):
                return key
            if key is not None and len(key) < KEY_MIN:
                return Trouble(f"{path}: is shorter than {KEY_MIN} letters", "write the passphrase that the agent has")
            keys.append(key)
        priv = PRIV[reach.priv_protocol] if keys[1] else hlapi.USM_PRIV_NONE
        return hlapi.UsmUserData(
            reach.user, keys[0], keys[1], authProtocol=AUTH[reach.auth_protocol], privProtocol=priv
        )

    def _no_answer(self, why: str) -> Trouble:
        if "timeout" in why.lower():
            known = "community" if self._reach.version == "v2c" else "user"
            fix = f"check host, port and {known}: agents meet a wrong one with silence"
            return Trouble(f"{self._name}: no answer within {self._timeout_s:g} s", fix)
        return Trouble(f"{self._name}: {why}", "check user, authProtocol, privProtocol and both key files")

    def _numbers(self, oids: tuple[str, ...], values: list[Any]) -> Answers | Trouble:
        found: list[float | None] = []
        for oid, value in zip(oids, values, strict=True):
            if isinstance(value, NoSuchObject | NoSuchInstance | EndOfMibView):
                found.append(None)
                continue
            try:
                found.append(float(str(value.prettyPrint())))
            except ValueError:
                text = str(value.prettyPrint())[:40]
                return Trouble(f"{self._name}: {oid} is {text!r}, no number", "check the oid")
        return found


def _plain(reach: SnmpMeter) -> Mib:
    """One object that the settings name."""
    oid = (reach.oid or "").lstrip(".")

    def understood(answers: Answers) -> Measured | Trouble:
        value = answers[0]
        if value is None or not math.isfinite(value):
            return Trouble(f"has no number at {oid}", "check the oid, with its instance at the end (such as .0)")
        return Measured(value * reach.scale, f"oid {oid}")

    return Mib(lambda _: (oid,), understood)
