"""What the page answers when it is asked for one job."""

from __future__ import annotations

import orjson
from aiohttp import web

from wattlease.runtime.job_book import ENDED_MAX, JobBook
from wattlease.runtime.job_names import some
from wattlease.runtime.view import SiteView
from wattlease.runtime.web_guard import refusal

FIELD = "name"
"""The part of the query that names the job, by its id or name."""


def job_answer(book: JobBook | None, view: SiteView | None, asked: str) -> web.Response:
    """The job's sheet as JSON, or why there is none: 204 before the first tick, 404, or 409 where several are meant."""
    if book is None or view is None:
        return web.Response(status=204)
    found = book.find(asked)
    if not found:
        told = f"no job {asked} runs or waits here, nor is it among the last {ENDED_MAX:,} that ended"
        return refusal(404, told, FIELD, "wattlease top lists those here; --state-folder finds those that ended before")
    if len(found) > 1:
        return refusal(409, f"{asked} may be any of {len(found)} jobs", FIELD, f"name one by its id: {some(found)}")
    sheet = book.sheet(found[0], view)
    if sheet is None:
        return refusal(404, f"job {found[0]} has only just come", FIELD, "ask again in a few seconds")
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=orjson.dumps(sheet), content_type="application/json", headers=headers)
