"""Asks the live page of a controller: its document, its stream, one job. That it cannot be reached is a value."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import orjson
from pydantic import TypeAdapter, ValidationError

from wattlease.runtime.job_words import JobSheet
from wattlease.runtime.live_words import Seen

PATIENCE_S = 15.0
"""The page's stream says something every 5 s; one that is silent for longer is gone."""

RETRY_S = 2.0
"""Between attempts at a page that cannot be reached."""

_SHEET = TypeAdapter(JobSheet)


@dataclass(frozen=True, slots=True)
class Away:
    """The page tells nothing; `text` says why."""

    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The page answers, but not with what was asked for; `text` says why, and `fix` what to do."""

    status: int
    text: str
    fix: str


class Live:
    """One page. A call may take as long as the network does; none raises for what the page or the network does."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        # the page is on this machine or in the site's own network, never behind a proxy
        self._opener = build_opener(ProxyHandler({}))

    def view(self) -> Seen | Away:
        """The newest document with its past."""
        match self._asked("/api/view"):
            case Refused(_, text, fix):
                return Away(f"{self.url} refuses: {text}; {fix}")
            case bytes(body):
                return self._read(body)
            case away:
                return away

    def stale(self) -> str:
        """Why the newest document is not of now; empty where it is."""
        try:
            with self._open("/readyz"):
                return ""
        except HTTPError as unready:
            with unready:
                return unready.read().decode(errors="replace").strip().removeprefix("not ready: ")
        except (OSError, HTTPException) as trouble:
            return self._away(trouble).text

    def job(self, name: str) -> JobSheet | Refused | Away:
        """What is known of the job of this id or name."""
        answer = self._asked(f"/api/job?{urlencode({'name': name})}")
        if not isinstance(answer, bytes):
            return answer
        try:
            return _SHEET.validate_json(answer)
        except ValidationError:
            return self._stranger()

    def follow(self) -> Iterator[Seen | Away]:
        """Every tick from now on, each with its past; while the page is away, why, again and again."""
        while True:
            seen = self.view()
            yield seen
            if isinstance(seen, Seen):
                yield from self._ticks(seen)
            time.sleep(RETRY_S)

    def _ticks(self, seen: Seen) -> Iterator[Seen | Away]:
        """Ticks until the stream breaks, and why it did."""
        past = seen.history
        try:
            with self._open("/api/stream") as answer:
                for line in answer:
                    if line.startswith(b"data: "):
                        tick = self._read(line[6:])
                        if isinstance(tick, Seen):
                            past = past.after(tick.sample)
                            tick = tick.model_copy(update={"history": past})
                        yield tick
        except HTTPError as refused:
            with refused:
                yield Away(f"{self.url} refuses to send its ticks: {_told(refused).get('error', refused.reason)}")
        except (OSError, HTTPException) as trouble:
            yield self._away(trouble)
        else:
            yield Away(f"{self.url} has ended")

    def _asked(self, path: str) -> bytes | Refused | Away:
        """The answer's body."""
        try:
            with self._open(path) as answer:
                body: bytes = answer.read()
        except HTTPError as refused:
            with refused:
                told = _told(refused)
            return Refused(refused.code, told["error"], told["fix"]) if "fix" in told else self._stranger()
        except (OSError, HTTPException) as trouble:
            return self._away(trouble)
        return body or Away(f"{self.url} has nothing decided yet: it only just began, or another controller leads")

    def _open(self, path: str) -> HTTPResponse:
        return self._opener.open(self.url + path, timeout=PATIENCE_S)

    def _read(self, document: bytes) -> Seen | Away:
        try:
            return Seen.model_validate_json(document)
        except ValidationError:
            return self._stranger()

    def _away(self, trouble: OSError | HTTPException) -> Away:
        cause = trouble.reason if isinstance(trouble, URLError) else trouble
        reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        return Away(f"{self.url} cannot be reached: {reason}")

    def _stranger(self) -> Away:
        return Away(f"{self.url} answers, but not as the page of this version of Wattlease")


def _told(refused: HTTPError) -> dict[str, Any]:
    """What a refusal of the page says: `error`, `field` and `fix`; empty if another has refused."""
    try:
        told = orjson.loads(refused.read())
    except (ValueError, OSError, HTTPException):
        return {}
    return told if isinstance(told, dict) else {}
