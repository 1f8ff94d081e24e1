"""A table that is kept by columns, each an array of its own, and that grows by rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Columns:
    """Arrays of one length by name. A new row is filled with its column's blank."""

    def __init__(self, blanks: Mapping[str, float | int | bool]) -> None:
        self.blanks = dict(blanks)
        self.arrays = {name: np.zeros(0, dtype=type(blank)) for name, blank in blanks.items()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The column itself, to read and to write in place."""
        return self.arrays[name]

    def grow(self, rows: int) -> slice:
        """So many blank rows more; returns where they are."""
        before = len(next(iter(self.arrays.values())))
        for name, blank in self.blanks.items():
            self.arrays[name] = np.concatenate([self.arrays[name], np.full(rows, blank, dtype=type(blank))])
        return slice(before, before + rows)
