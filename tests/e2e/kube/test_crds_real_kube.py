"""The custom resource definitions on a real API server, and the table of manifests at its door."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path

import pytest
from crd_cases import Case, cases
from kube_plane import ControlPlane

CRDS = Path(__file__).parents[3] / "crds"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMES = sorted(f"{path.stem}.wattlease.io" for path in CRDS.glob("*.yaml"))


@pytest.fixture(scope="module")
def door(plane: ControlPlane) -> ControlPlane:
    plane.kubectl("apply", "--server-side", "-f", str(CRDS))
    plane.until(lambda: all(conditions(plane, name).get("Established") == "True" for name in NAMES), "they are served")
    return plane


def conditions(plane: ControlPlane, name: str) -> dict[str, str]:
    return {c["type"]: c["status"] for c in plane.read(f"{DEFINITIONS}/{name}").get("status", {}).get("conditions", ())}


@pytest.mark.parametrize("name", NAMES)
def test_a_definition_is_taken_as_structural_under_its_names(door: ControlPlane, name: str) -> None:
    found = conditions(door, name)
    assert found.get("NamesAccepted") == "True"
    assert found.get("NonStructuralSchema", "False") == "False", found


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.about)
def test_the_server_gives_the_verdict_of_the_table(door: ControlPlane, case: Case) -> None:
    said = verdict(door, case)
    assert bool(said) == (case.refused is not None), said
    if case.refused is not None:
        assert names(said, case.refused), f"{case.refused} is not named in: {said}"


def verdict(door: ControlPlane, case: Case) -> str:
    """What the server says against a manifest; nothing where it takes it."""
    within = f"/namespaces/{space}" if (space := case.manifest["metadata"].get("namespace")) else ""
    plural = f"{case.manifest['kind'].lower()}s"
    path = f"/apis/{case.manifest['apiVersion']}{within}/{plural}?dryRun=All&fieldValidation=Strict"
    status, said = door.ask("POST", path, case.manifest)
    return "" if status == HTTPStatus.CREATED else str(said["message"])


def names(said: str, field: str) -> bool:
    """Whether a refusal names this field or one below it, in any of the forms in which API servers write paths."""
    return re.sub(r"\W+", ".", field) in re.sub(r"\W+", ".", said)
