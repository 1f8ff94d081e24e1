"""The fitted models on disk: JSON with LightGBM's own text in it. Nothing in the file is ever run.

No pickle, so the worst that a forged file does is to foresee nonsense or be refused; and the folder is the process's
own. A file of another version or of other features is refused whole, and the site trains anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from wattlease.facility.forecast.features import LEVELS, SIGNS
from wattlease.facility.forecast.model import Kept, RangeModel
from wattlease.facility.forecast.predicting import Ready, ready
from wattlease.facility.forecast.trees import TreesError
from wattlease.runtime.lease.disk import replace_file

FEATURES = (*LEVELS, *SIGNS)


class _File(Kept):
    version: Literal[1] = 1
    features: tuple[str, ...] = FEATURES
    ranges: tuple[RangeModel, ...]


def save(path: Path, models: tuple[RangeModel, ...]) -> None:
    """Put the models in place of those that are there; a power cut leaves one or the other. Raises OSError."""
    replace_file(path, _File(ranges=models).model_dump_json().encode())


def load(path: Path) -> dict[str, Ready] | str:
    """The models by range, ready to use, or the reason why there are none; no file at all is no models."""
    try:
        kept = _File.model_validate_json(path.read_bytes())
        if kept.features != FEATURES:
            return f"{path.name}: made for other features; the next training replaces it"
        _check(kept)
        return {model.range: ready(model) for model in kept.ranges}
    except FileNotFoundError:
        return {}
    except OSError as error:
        return f"{path.name}: {error.strerror}; let the facility read its state folder"
    except TreesError as error:
        return f"{path.name}: {error}"
    except (ValidationError, ValueError):
        return f"{path.name}: not a model of this version; the next training replaces it"


def _check(kept: _File) -> None:
    """Raises ValueError for what fits its fields and no forecast."""
    for model in kept.ranges:
        ahead_s = [knot.ahead_s for knot in model.knots]
        lines = {len(knot.line) for knot in model.knots}
        if ahead_s != sorted(set(ahead_s)) or len(model.trees) not in (0, 2) or not lines <= {0, len(LEVELS) + 1}:
            raise ValueError(model.range)
