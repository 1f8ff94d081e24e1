"""The table of manifests beside this file, as objects: for the models, for the schemas, for a real API server."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wattlease.core.api import API_VERSION


@dataclass(frozen=True)
class Case:
    """An object, what it is about, and the field at or below which it is refused; None: it is taken."""

    about: str
    manifest: dict[str, Any]
    refused: str | None


def cases() -> list[Case]:
    """Every case of every file of the folder."""
    return [case for path in sorted(Path(__file__).parent.glob("*.yaml")) for case in _of(path)]


def _of(path: Path) -> Iterator[Case]:
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    at = table.get("at", "")
    for i, row in enumerate(table["cases"]):
        spec = {**copy.deepcopy(table["spec"]), at.removeprefix("spec."): row["spec"]} if at else row["spec"]
        metadata = {"name": f"{path.stem}-{i}", **({"namespace": "default"} if table["kind"] == "PowerProfile" else {})}
        manifest = {"apiVersion": API_VERSION, "kind": table["kind"], "metadata": metadata, "spec": spec}
        refused = at + row["refused"] if "refused" in row else None
        yield Case(f"{path.stem}: {row['case']}", manifest, refused)
