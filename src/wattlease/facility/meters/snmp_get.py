"""One SNMP GET by object numbers alone.

The library's own `get_cmd` looks every number up in MIBs: it builds a compiler for them (1.7 s of computing for each
engine, in the loop) and searches the Internet for what it lacks. Nothing here needs a name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pysnmp.entity.rfc3413.cmdgen import GetCommandGenerator
from pysnmp.hlapi.v3arch.asyncio.cmdgen import LCD
from pysnmp.proto.rfc1902 import Null, ObjectName

Answer = tuple[Any, Any, Any, Any]
"""Why there is none, the agent's refusal, which object it is about (from 1), and pairs of object and value."""


async def get(engine: Any, who: Any, target: Any, context: Any, oids: Sequence[str]) -> Answer:
    """Ask, and ask again as often as the target says. Raises PySnmpError for what cannot be sent."""
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answer(_: Any, __: Any, silence: Any, refused: Any, at: Any, bound: Any, ___: Any) -> None:
        if not answered.done():
            answered.set_result((silence, refused, at, bound))

    name, _ = LCD.configure(engine, who, target, context.contextName)
    objects = [(ObjectName(oid), Null("")) for oid in oids]
    GetCommandGenerator().send_varbinds(engine, name, context.contextEngineId, context.contextName, objects, answer)
    return await answered
