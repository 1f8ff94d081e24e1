"""Training as a process of its own, out of the way: `python -m wattlease.facility.forecast.process FOLDER ZONE`.

It reads the record of minutes, fits and judges every range, and puts the models in place. A crash of the library, or
all the memory that it takes, is then not the facility's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

from wattlease.facility.forecast.history import History
from wattlease.facility.forecast.minutes import series_of
from wattlease.facility.forecast.model import RANGES
from wattlease.facility.forecast.store import save
from wattlease.facility.forecast.training import train

MODELS = "models.json"


def main(folder: Path, zone: str) -> int:
    """Train on the record in the folder; 0 when the models are in place."""
    os.nice(10)
    series = series_of(list(History(folder).minutes()))
    models = [train(series, ranged, ZoneInfo(zone)) for ranged in RANGES]
    save(folder / MODELS, tuple(model for model in models if model is not None))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
