"""What the page tells of one job, put together from what is known of it."""

from __future__ import annotations

import math

from wattlease.runtime.job_words import ENDED, JobAccount, JobSheet
from wattlease.runtime.story_jobs import JobStory
from wattlease.runtime.view import JobRow, SiteView


def living(view: SiteView, row: JobRow, cap_w: float, story: JobStory, account: JobAccount | None) -> JobSheet:
    """The sheet of a job that runs or waits; `row` is its own in the document."""
    return JobSheet(
        now_s=view.now_s,
        currency=view.currency,
        id=row.id,
        name=row.name,
        owner=row.owner,
        cluster=row.cluster,
        state=row.state,
        gpus=row.gpus,
        sentence=row.reason,
        draw_w=_known(row.draw_w),
        full_w=_known(row.full_w),
        cap_w=_known(cap_w),
        speed_frac=_known(row.speed_frac),
        cost_per_h=_known(row.cost_per_h),
        entries=tuple(story.entries),
        account=account,
    )


def gone(currency: str, story: JobStory, account: JobAccount | None) -> JobSheet:
    """The sheet of a job that has ended; `sentence` is what it was told last."""
    return JobSheet(
        now_s=story.seen_s,
        currency=currency,
        id=story.id,
        name=story.name,
        owner=story.owner,
        cluster=account.cluster if account else "",
        state=ENDED,
        gpus=story.gpus,
        sentence=story.sentence,
        entries=tuple(story.entries),
        account=account,
    )


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
