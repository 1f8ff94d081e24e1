"""What is known of each job that is here, and of the last thousand that have ended: its story and its account."""

from __future__ import annotations

from wattlease.core.actions import Plan
from wattlease.core.model import Snapshot
from wattlease.runtime.job_accounts import JobAccounts
from wattlease.runtime.job_names import meant
from wattlease.runtime.job_sheet import gone, living
from wattlease.runtime.job_words import JobAccount, JobSheet
from wattlease.runtime.story_jobs import Teller
from wattlease.runtime.view import SiteView

ENDED_MAX = 1000
"""So many ended jobs are remembered."""

ENTRIES_MAX = 100
"""So many of a job's newest entries are remembered."""


class JobBook:
    """Kept tick by tick; asked for a job by whatever a person calls it."""

    def __init__(self, accounts: JobAccounts) -> None:
        self._accounts = accounts
        self._teller = Teller(ENTRIES_MAX, ENDED_MAX)
        self._ended: dict[str, JobAccount] = {}
        self._caps_w: dict[str, float] = {}

    def note(self, snapshot: Snapshot, plan: Plan) -> list[JobAccount]:
        """Take in the next tick; return the accounts of the jobs that have ended."""
        self._teller.hear(snapshot, plan)
        self._caps_w = dict(zip(snapshot.jobs.id, plan.cap_w.tolist(), strict=True))
        ended = self._accounts.note(snapshot, plan)
        for account in ended:
            self._ended.pop(account.job, None)  # so that a job that ran twice counts by its newest end
            self._ended[account.job] = account
        for oldest in list(self._ended)[: max(len(self._ended) - ENDED_MAX, 0)]:
            del self._ended[oldest]
        return ended

    def find(self, asked: str) -> tuple[str, ...]:
        """Ids of the jobs that may be meant: one where it is clear; jobs that are here go first."""
        stories = self._teller.stories
        here = meant(asked, {job: story.name for job, story in stories.items() if not story.ended})
        return here or meant(asked, {job: story.name for job, story in stories.items() if story.ended})

    def sheet(self, job: str, view: SiteView) -> JobSheet | None:
        """What is known of the job with this id; `view` is the newest document. None: the document lacks it yet."""
        story = self._teller.stories[job]
        if story.ended:
            return gone(view.currency, story, self._ended.get(job))
        row = next((row for row in view.jobs if row.id == job), None)
        cap_w = self._caps_w.get(job, float("nan"))
        return living(view, row, cap_w, story, self._accounts.of(job)) if row else None
