"""Why a command of Slurm's failed, told from the sentence it printed, the same in all versions since 22.05."""

from __future__ import annotations

import re

from wattlease_slurm.words import Why

SENTENCE_MAX = 300

_WHY = (
    (Why.UNKNOWN, "Invalid job id|Requested reservation is invalid|Job/step already completing or completed"),
    # what suspend says of a job that never was: slurmctld answers it with no error code of its own
    (Why.UNKNOWN, "Unexpected message received|Zero Bytes were transmitted"),
    (
        Why.NOT_PERMITTED,
        "[Aa]ccess/permission denied|Access denied|Invalid user id|Only operators|must be (?:root|an operator)",
    ),
    (Why.UNANSWERED, "Unable to contact|Socket timed out|connect failure|Connection refused|Connection reset"),
    (Why.UNANSWERED, "[Mm]unge|authentication|Communication connection failure|in standby mode"),
)


def why(sentence: str) -> Why:
    """What to make of it; what is not known is a refusal."""
    return next((reason for reason, pattern in _WHY if re.search(pattern, sentence)), Why.REFUSED)


def sentence_of(errors: str, output: str, code: int) -> str:
    """The last line that was said, errors before the rest, cut to a readable length."""
    lines = [line.strip() for text in (output, errors) for line in text.splitlines() if line.strip()]
    return lines[-1][:SENTENCE_MAX] if lines else f"ended with {code} and said nothing"
