"""Talking to a board controller: one session, one call at a time, nothing that leads away from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from wattlease.agent.cards import Trouble
from wattlease.agent.node_power.redfish_settings import RedfishSettings
from wattlease.agent.node_power.redfish_words import Page

SESSIONS = "/redfish/v1/SessionService/Sessions"
MAX_BYTES = 1 << 20
"""No page that we read is near this long."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; status 0 where nothing did, and then the page says why."""

    status: int
    page: Page | Trouble
    headers: Mapping[str, str] = field(default_factory=dict)


class Session:
    """A session that logs in when it must and no sooner than `refused_seconds` after the account was refused."""

    def __init__(self, settings: RedfishSettings, clock: Callable[[], float]) -> None:
        self._settings, self._clock = settings, clock
        self._http: aiohttp.ClientSession | None = None
        self._token, self._path = "", ""
        self._refused: tuple[Trouble, float] | None = None

    async def page(self, path: str) -> Page | Trouble:
        """A page, logging in the first time, and once more where the session has run out."""
        answer = Answer(401, {})
        for _ in range(2):
            trouble = None if self._token else await self._log_in()
            if trouble is not None:
                return trouble
            answer = await self._call("GET", path)
            if answer.status != 401:
                break
            self._token = ""
        if answer.status not in (0, 200):
            return Trouble(f"{self._settings.url}{path}: answered {answer.status}")
        return answer.page

    async def close(self) -> None:
        """Log out: a controller has few sessions, and keeps a forgotten one for half an hour."""
        if self._http is None:
            return
        if self._token and self._path:
            await self._call("DELETE", self._path)
        await self._http.close()
        self._http, self._token, self._path = None, "", ""

    async def _log_in(self) -> Trouble | None:
        if self._refused is not None and self._clock() < self._refused[1]:
            return self._refused[0]
        account = self._settings.account()
        if isinstance(account, Trouble):
            return account
        answer = await self._call("POST", SESSIONS, account)
        self._token = answer.headers.get("X-Auth-Token", "")
        self._path = urlsplit(answer.headers.get("Location", "")).path
        if self._token:
            return None
        if answer.status in (400, 401, 403):
            return self._leave_alone(answer.status)
        gave_none = Trouble(f"{self._settings.url}: gave no session ({answer.status})")
        return answer.page if isinstance(answer.page, Trouble) else gave_none

    def _leave_alone(self, status: int) -> Trouble:
        trouble = Trouble(
            f"{self._settings.url}: refuses the account in {self._settings.credentials_file} ({status}); "
            f"tried again after {self._settings.refused_seconds:g} s, so that it is not locked"
        )
        self._refused = trouble, self._clock() + self._settings.refused_seconds
        return trouble

    async def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> Answer:
        url, headers = f"{self._settings.url}{path}", {"X-Auth-Token": self._token} if self._token else {}
        try:
            http = self._http = self._http or self._opened()
            async with http.request(method, url, json=body, headers=headers, allow_redirects=False) as answer:
                return Answer(answer.status, _page(url, await _body(answer)), answer.headers)
        except TimeoutError:
            return Answer(0, Trouble(f"{self._settings.url}: no answer within {self._settings.timeout_seconds:g} s"))
        except (aiohttp.ClientError, OSError) as error:
            return Answer(0, Trouble(f"{self._settings.url}: {error}"))

    def _opened(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_seconds)
        connector = aiohttp.TCPConnector(ssl=self._settings.trust(), limit=1)
        # The controller's cookies are none of our business; the token is the session.
        return aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    data = b""
    async for chunk in answer.content.iter_chunked(MAX_BYTES):
        data += chunk
        if len(data) > MAX_BYTES:
            raise OSError(f"sends more than {MAX_BYTES} bytes")
    return data


def _page(url: str, data: bytes) -> Page | Trouble:
    try:
        page = json.loads(data or b"{}")
    except ValueError:
        return Trouble(f"{url}: sends no JSON")
    return page if isinstance(page, dict) else Trouble(f"{url}: sends no page of Redfish")
