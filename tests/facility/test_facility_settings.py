"""FACILITY.yaml and a controller's `share`: what is refused, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from wattlease.core.errors import BudgetError
from wattlease.facility.shares.settings import FacilitySettings
from wattlease.runtime.controller.settings import ControllerSettings
from wattlease.runtime.files import load

TLS = {"authority": "ca.crt", "certificate": "own.crt", "key": "own.key"}


def facility(folder: Path, *shares: dict[str, Any]) -> FacilitySettings:
    budgets = [
        {"metadata": {"name": "campus"}, "spec": {"limitWatts": 10_000, "guaranteedWatts": 4000}},
        {"metadata": {"name": "hall"}, "spec": {"limitWatts": 8000, "guaranteedWatts": 3000, "parent": "campus"}},
    ]
    written = {"name": "campus", "budgets": budgets, "listen": TLS, "stateFolder": "state"}
    named = [{"metadata": {"name": f"share-{i}"}, "spec": spec} for i, spec in enumerate(shares)]
    path = folder / "facility.yaml"
    path.write_text(yaml.safe_dump({**written, "shares": named}))
    return load(path, FacilitySettings)


def share(cluster: str = "a", budget: str = "campus", **spec: Any) -> dict[str, Any]:
    return {"cluster": cluster, "budget": budget, "watts": 6000, "guaranteedWatts": 2000, **spec}


def test_shares_of_nested_budgets_are_taken(tmp_path: Path) -> None:
    assert len(facility(tmp_path, share("a"), share("b", "hall")).shares) == 2


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        ((share("a"), share("a", "hall")), "cluster 'a' has a share already"),
        ((share("a", "row"),), "'row' is not defined; there is campus, hall"),
        (
            (share("a", guaranteedWatts=None),),
            "guaranteedWatts: is missing; write what the cluster's nodes fall back to",
        ),
        ((share("a"), share("b", "hall", guaranteedWatts=2500)), "4500 W are guaranteed in all under 'campus'"),
        ((share("a", "hall", guaranteedWatts=3500),), "3500 W are guaranteed in all under 'hall'"),
    ],
)
def test_a_mistake_is_told_with_what_would_be_right(tmp_path: Path, shares: tuple[Any, ...], told: str) -> None:
    with pytest.raises(BudgetError) as refused:
        facility(tmp_path, *shares)
    assert told in str(refused.value)


def controller(folder: Path, spec: dict[str, Any], grantor: str = "https://facility:8943") -> ControllerSettings:
    group = {"name": "gpu", "cluster": "a", "budget": "a", "nodes": 1, "gpuModel": "H100", "nodeNameplateWatts": 10_200}
    written = {
        "name": "a",
        "groups": [group],
        "budgets": [{"metadata": {"name": "a"}, "spec": {"limitWatts": 6000, **spec}}],
        "listen": TLS,
        "stateFolder": "state",
        "share": {"cluster": "a", "grantors": [grantor], **TLS},
    }
    path = folder / "controller.yaml"
    path.write_text(yaml.safe_dump(written))
    return load(path, ControllerSettings)


def test_a_controller_with_a_share_has_no_battery_of_its_own(tmp_path: Path) -> None:
    assert controller(tmp_path, {}).share is not None
    pack = {"name": "pack", "capacityWattHours": 1000, "maxChargeWatts": 1000, "maxDischargeWatts": 1000}
    with pytest.raises(BudgetError, match=r"storage: stands behind the facility's meter"):
        controller(tmp_path, {"storage": [pack]})


def test_a_lease_is_asked_for_over_tls_alone(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="grantors"):
        controller(tmp_path, {}, "http://facility:8943")
