"""One line of `squeue` for each job, and how it is read back.

Names and comments are whatever users wrote: newlines, separators, whole lines that look like squeue's. So the fields
are divided by a mark drawn anew for each call, which nobody can have written before.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

LETTERS = "AiuaPqTrQVSMlDCNbWhFKjk"
"""The fields of `Row`, in its order, as `squeue -o` calls them in every version since 22.05."""


class Row(NamedTuple):
    """A job as squeue prints it, each field a text; without a width none is cut."""

    number: str
    id: str
    user: str
    account: str
    partition: str
    qos: str
    state: str
    reason: str
    priority: str
    submit: str
    start: str
    ran: str
    limit: str
    node_count: str
    cpus: str
    nodes: str
    gres: str
    licences: str
    shared: str
    array: str
    tasks: str
    name: str
    comment: str


def new_mark() -> str:
    """A separator that nothing in the queue can contain."""
    return f"\x1f{secrets.token_hex(4)}\x1f"


def squeue_format(mark: str, letters: str = LETTERS) -> str:
    """What to give `squeue -o`: every field, the mark behind each."""
    return "".join(f"%{letter}{mark}" for letter in letters)


def rows_of(text: str, mark: str, width: int = len(LETTERS)) -> list[list[str]]:
    """The fields of each line that squeue printed; ValueError where it is not whole."""
    *parts, end = text.split(mark)
    if len(parts) % width or end.strip("\n"):
        raise ValueError(f"squeue printed {len(parts)} fields, {width} are asked for each job")
    # the end of a line stands between its last mark and the next line's first field
    return [[parts[at].removeprefix("\n"), *parts[at + 1 : at + width]] for at in range(0, len(parts), width)]
