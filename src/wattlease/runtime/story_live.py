"""`wattlease explain JOBID`: from the live page; of a job that ended long ago, from the file of ended jobs."""

from __future__ import annotations

from pathlib import Path

from wattlease.core.errors import WattleaseError
from wattlease.runtime.job_accounts_file import runs_of, written
from wattlease.runtime.job_words import JobSheet
from wattlease.runtime.live import Away, Live, Refused

UNKNOWN = 404
"""The status with which the page says that it does not know a job; any other refusal is of the question."""


class NoSuchJobError(WattleaseError):
    """The job is not known, or nobody can be asked for it; the text says which, and what to do."""


def sheet_of(job: str, url: str, state_folder: Path | None) -> tuple[JobSheet, str]:
    """What is known of a job, and why it is from the file where the page could not be asked.

    Raises NoSuchJobError, or NoAccountsError from the file.
    """
    match Live(url).job(job):
        case JobSheet() as sheet:
            return sheet, ""
        case Refused(status, text, fix):
            if status != UNKNOWN or state_folder is None:
                raise NoSuchJobError(f"{text}; {fix}")
            return written(runs_of(state_folder, job)), ""
        case Away(text):
            if state_folder is None:
                told = "name the controller's page with --url, or for a job that ended its folder with --state-folder"
                raise NoSuchJobError(f"{text}; {told}")
            return written(runs_of(state_folder, job)), text
