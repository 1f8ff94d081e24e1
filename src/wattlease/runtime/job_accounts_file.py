"""`jobs.jsonl`: the accounts of the jobs that have ended, one line for each, the newest last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from wattlease.core.errors import WattleaseError
from wattlease.runtime.job_words import ENDED, JobAccount, JobSheet

FILE = "jobs.jsonl"

_ACCOUNT = TypeAdapter(JobAccount)


class NoAccountsError(WattleaseError):
    """The file of ended jobs cannot be read, or does not know the job; the text says which."""


def runs_of(folder: Path, asked: str) -> list[JobAccount]:
    """Every run of the job with this id, oldest first; of no such id, of the jobs of this name. Raises NoAccountsError.

    A line that was cut short by a full disk or a crash is skipped.
    """
    try:
        found = list(_lines(folder / FILE, asked))
    except OSError as trouble:
        told = f"{folder / FILE}: {trouble.strerror}; is this the controller's stateFolder?"
        raise NoAccountsError(told) from trouble
    runs = [run for run in found if run.job == asked] or [run for run in found if run.name == asked]
    if not runs:
        raise NoAccountsError(f"{folder / FILE}: no job {asked} has ended; jobs that never ran are not written there")
    return runs


def written(runs: list[JobAccount]) -> JobSheet:
    """The sheet of a job of which only a file knows; `runs` are its lines, oldest first, at least one."""
    last = runs[-1]
    return JobSheet(
        now_s=last.ended_s,
        currency="",
        id=last.job,
        name=last.name,
        owner=last.owner,
        cluster=last.cluster,
        state=ENDED,
        gpus=last.gpus,
        account=last,
        written=len(runs),
    )


def _lines(path: Path, asked: str) -> Iterator[JobAccount]:
    quoted = orjson.dumps(asked)
    with path.open("rb") as file:
        for line in file:
            if quoted in line:  # most lines are of others, and need not be understood
                try:
                    yield _ACCOUNT.validate_json(line)
                except ValidationError:
                    continue
