"""KEDA itself on a real control plane: it goes no further out while watts are short, and on again afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from kube_binaries import Binaries
from kube_foreign import NAMESPACE, PATHS, SERVE, SYNC_S, US, WORKS, profiles
from kube_keda import keda
from kube_kwok import kwok
from kube_plane import ControlPlane
from kube_site import Site
from kube_versions import Versions, owned, values
from kube_work import deployment

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif("E2E_KEDA" not in os.environ, reason="KEDA takes ten more minutes to build: make e2e-keda"),
]

SERVICE, AUTOSCALER = "answer", "keda-hpa-answer"
PAUSED, HELD_BY = "autoscaling.keda.sh/paused-scale-out", "wattlease.io/held-by"
NODES = ("gpu-1", "gpu-2")
HIGH_W, LEFT_W = 20_000.0, 300.0
"""Room for all; and over what is drawn, less than one replica more would take."""

FEW, MANY = 5, 8
SOON_S, CALM_S = 120.0, 10.0
SCALED, AUTOSCALERS, DEPLOYMENTS = "scaledobjects", "horizontalpodautoscalers", "deployments"
WATCHED = {plural: PATHS[plural] for plural in (SCALED, AUTOSCALERS, DEPLOYMENTS)}
BUDGET = {"band": {"counts": "Draw"}, "ramp": {"releasePercentPerMinute": 100}}


@dataclass
class Story:
    """What happened, and when, by `time.monotonic`."""

    site: Site
    told: Versions
    cut_s: float = 0.0
    wished_s: float = 0.0
    back_s: float = 0.0

    def replicas(self) -> int:
        return int(self.told.at(DEPLOYMENTS, SERVICE, "spec", "replicas"))

    def rises(self) -> Any:
        """What KEDA lets its autoscaler do upwards."""
        return self.told.at(AUTOSCALERS, AUTOSCALER, "spec", "behavior", "scaleUp", "selectPolicy")

    def wishes(self, replicas: int) -> None:
        """The owner's triggers ask for so many."""
        self.site.plane.apply(scaled_object(replicas))


def scaled_object(replicas: int) -> dict[str, Any]:
    """A service that its schedule wants so many of, all the year but its last minute."""
    times = {"timezone": "UTC", "start": "0 0 1 1 *", "end": "59 23 31 12 *", "desiredReplicas": str(replicas)}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE, "annotations": {"team.example.com/owner": "search"}},
        "spec": {
            "scaleTargetRef": {"name": SERVICE},
            "minReplicaCount": 1,
            "maxReplicaCount": MANY,
            "pollingInterval": 5,
            "triggers": [{"type": "cron", "metadata": times}],
        },
    }


@pytest.fixture(scope="module")
def story(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(binaries, tmp_path_factory.mktemp("keda")))
        stack.enter_context(kwok(plane, NODES))
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        stack.enter_context(keda(plane))
        site = Site(plane, NODES, WORKS, limit_w=HIGH_W, budget=BUDGET)
        plane.until(lambda: plane.furnished(NAMESPACE), "the namespace is set up")
        plane.apply(*profiles(), deployment(SERVICE, 1, 1, NAMESPACE, labels=SERVE))
        told = stack.enter_context(Versions(plane, WATCHED))
        stack.enter_context(site.running())
        found = Story(site, told)
        lived(found)
        yield found


def lived(story: Story) -> None:
    site = story.site
    story.wishes(FEW)
    took_s = site.until(lambda: story.replicas() == FEW, "KEDA scales out", SOON_S)
    print(f"KEDA's autoscaler had scaled to {FEW} after {took_s:.0f} s")
    site.until(lambda: len(site.hardware.jobs) == FEW, "all work runs", SOON_S)
    time.sleep(CALM_S)
    story.cut_s = time.monotonic()
    site.limit(site.hardware.drawn_w() + LEFT_W)
    took_s = site.until(lambda: story.rises() == "Disabled", "KEDA has its autoscaler rise no more", SOON_S)
    print(f"its autoscaler rises no more {took_s:.0f} s after the limit fell")
    story.wishes(MANY)
    story.wished_s = time.monotonic()
    time.sleep(3 * SYNC_S)
    story.back_s = time.monotonic()
    site.limit(HIGH_W)
    took_s = site.until(lambda: story.replicas() == MANY, "KEDA scales out again", 2 * SOON_S)
    print(f"KEDA's autoscaler had scaled to {MANY} {took_s:.0f} s after the limit rose")
    time.sleep(CALM_S)


def test_while_watts_are_short_keda_scales_out_no_further_whatever_its_triggers_ask(story: Story) -> None:
    assert not story.told.broken
    replicas = values(story.told.of(DEPLOYMENTS, SERVICE, story.cut_s, story.back_s), "spec", "replicas")
    assert replicas == [FEW]
    status = story.told.of(AUTOSCALERS, AUTOSCALER, story.wished_s, story.back_s)[-1]["status"]
    [metric] = status["currentMetrics"]
    assert metric["external"]["current"]["averageValue"] == "1600m", "eight are asked for, of five"
    assert status["desiredReplicas"] == FEW


def test_afterwards_keda_follows_its_triggers_again(story: Story) -> None:
    assert story.replicas() == MANY
    assert story.rises() != "Disabled"
    paused = [c for c in story.told.at(SCALED, SERVICE, "status", "conditions") if c["type"] == "Paused"]
    assert {c["status"] for c in paused} == {"False"}


def test_only_the_pause_of_scaling_out_was_written_and_it_was_taken_away_again(story: Story) -> None:
    own = {"team.example.com/owner": "search"}
    held = own | {PAUSED: "true", HELD_BY: US}
    assert values(story.told.of(SCALED, SERVICE), "metadata", "annotations") == [own, held, own]


def test_of_keda_s_own_autoscaler_and_the_deployment_nothing_was_ever_ours(story: Story) -> None:
    for plural in (AUTOSCALERS, DEPLOYMENTS):
        assert not [v.name for v in story.told.all if v.plural == plural and owned(v.body, US)]
