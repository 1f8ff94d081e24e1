"""Controllers of others on a real control plane: they and we do not fight, and nothing of ours stays on what is theirs.

One site goes through one shortage, in which the HorizontalPodAutoscaler's controller follows our ceilings, Kueue our
check, and a GitOps tool applies its manifests again and again; what was told of every object is then looked through.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from kube_binaries import Binaries
from kube_foreign import (
    CEILINGS,
    CHECK,
    FLUX,
    NAMESPACE,
    PATHS,
    PLURALS,
    QUEUE,
    SYNC_S,
    US,
    WORKS,
    allowed,
    applied,
    applied_again,
    documented,
    gated,
    hpa,
    jobs,
    profiles,
    scaled_object_definition,
    services,
    train,
    without_ceiling,
    without_switch,
)
from kube_kueue import kueue, queue
from kube_kwok import GPUS, kwok
from kube_loads import admission_check
from kube_plane import ControlPlane, KubectlError
from kube_site import Site
from kube_versions import Versions, changed, owned, values

pytestmark = pytest.mark.timeout(900)

LEFT_ALONE = "wattlease.io/left-alone"
NODES = ("gpu-1", "gpu-2")
HIGH_W, LOW_W = 24_000.0, 5_400.0
"""Room for every service to grow as far as its owner lets it; and what needs every lever that there is."""

SOON_S, TTL_S, CALM_S = 120.0, 10.0, 10.0
RAMP_S = 50.0
"""So long the limit takes to come back: what is not there yet, services cannot grow into."""

AUTOSCALERS, SCALED = "horizontalpodautoscalers", "scaledobjects"
BUDGET = {
    "band": {"counts": "Draw"},
    "ramp": {"releasePercentPerMinute": 100},
    "dwell": {"pauseSeconds": 10, "holdSeconds": 5, "downsizeSeconds": 10},
}
MINE = {
    "jobs": ("batch", "queued", "train"), "deployments": ("chat", "talk", "answer"),
    AUTOSCALERS: ("chat", "talk"), SCALED: ("answer",), "localqueues": (QUEUE,), "powerprofiles": ("serve", "batch"),
}  # fmt: skip
"""The users' objects that outlive the story; `train` and the autoscaler `talk` the tool applies too."""


@dataclass
class Story:
    """What happened, and when, by `time.monotonic`."""

    site: Site
    told: Versions
    before: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    cut_s: float = 0.0
    held_s: float = 0.0
    plain_s: float = 0.0
    forced_s: float = 0.0
    left_s: float = 0.0
    back_s: float = 0.0
    refused: list[str] = field(default_factory=list)
    events: list[Mapping[str, Any]] = field(default_factory=list)

    def newest(self, plural: str, name: str) -> Mapping[str, Any]:
        return self.told.of(plural, name)[-1]

    def held(self) -> bool:
        """Everything that we can hold is held, and the others have followed."""
        paused = all(self.told.at("jobs", name, "spec", "suspend") for name in ("train", "batch", "queued"))
        lowered = all(self.ceiling(name) < CEILINGS[name] for name in ("chat", "talk"))
        followed = self.replicas("chat") == self.ceiling("chat") < 6
        return paused and lowered and followed and "autoscaling.keda.sh/paused-scale-out" in self.ours(SCALED, "answer")

    def let_go(self) -> bool:
        """Nothing of ours is on any of the users' objects, but the word on whom others resumed."""
        left = {(plural, name): self.ours(plural, name) for plural, names in MINE.items() for name in names}
        return {key for key, fields in left.items() if fields} <= {("jobs", "train")} and not any(
            self.told.at("jobs", name, "spec", "suspend") for name in MINE["jobs"]
        )

    def ours(self, plural: str, name: str) -> set[str]:
        return owned(self.newest(plural, name), US)

    def ceiling(self, name: str) -> int:
        return int(self.told.at(AUTOSCALERS, name, "spec", "maxReplicas"))

    def replicas(self, name: str) -> int:
        return int(self.told.at("deployments", name, "spec", "replicas"))

    def scale(self, **replicas: int) -> None:
        """As the autoscalers would, had their metrics risen."""
        for name, count in replicas.items():
            self.site.plane.kubectl("scale", "deployment", name, "-n", NAMESPACE, f"--replicas={count}")


@pytest.fixture(scope="module")
def story(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(binaries, tmp_path_factory.mktemp("foreign")))
        stack.enter_context(kwok(plane, NODES))
        stack.enter_context(kueue(plane))
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        plane.apply(scaled_object_definition(), admission_check())
        site = Site(plane, NODES, WORKS, limit_w=HIGH_W, budget=BUDGET)
        plane.until(lambda: plane.furnished(NAMESPACE), "the namespace is set up")
        plane.apply(*profiles(), *queue(len(NODES) * GPUS, name=QUEUE, namespace=NAMESPACE, checks=(CHECK,)))
        told = stack.enter_context(Versions(plane, PATHS))
        stack.enter_context(site.running())
        found = Story(site, told)
        begun(found)
        shortage(found)
        afterwards(found)
        yield found


def begun(story: Story) -> None:
    """Everybody works, and is known."""
    plane, site = story.site.plane, story.site
    plane.apply(*services(), *jobs())
    applied(plane, without_switch(train()), without_ceiling(hpa("talk", 1)))
    site.until(lambda: len(site.hardware.jobs) == 13, "all work runs", SOON_S)
    site.until(lambda: site.hardware.drawn_w() > 8_500.0, "the site is busy", SOON_S)
    time.sleep(CALM_S)
    assert not story.told.broken
    story.before = {(plural, name): story.newest(plural, name) for plural, names in MINE.items() for name in names}
    assert not any(owned(body, US) for body in story.before.values())


def shortage(story: Story) -> None:
    site, plane = story.site, story.site.plane
    story.cut_s = time.monotonic()
    site.limit(LOW_W)
    took_s = site.until(story.held, "all levers are used and all others have followed", SOON_S)
    print(f"everything held {took_s:.0f} s after the limit fell")
    story.held_s = time.monotonic()
    plane.apply(gated())
    time.sleep(CALM_S)
    story.plain_s = time.monotonic()
    applied_again(plane, 5, (without_switch(train()), without_ceiling(hpa("talk", 1))))
    for named in (train(), hpa("talk", 1)):
        with pytest.raises(KubectlError) as refused:
            applied(plane, named)
        story.refused.append(str(refused.value))
    story.forced_s = time.monotonic()
    applied_again(plane, 8, (train(), hpa("talk", 1)), force=True)
    story.left_s = time.monotonic()


def afterwards(story: Story) -> None:
    site, plane = story.site, story.site.plane
    story.back_s = time.monotonic()
    site.limit(HIGH_W)
    took_s = site.until(story.let_go, "nothing of ours is left", 2 * SOON_S)
    print(f"everything given back {took_s:.0f} s after the limit rose")
    time.sleep(max(story.back_s + RAMP_S - time.monotonic(), 0.0))
    story.scale(chat=6, talk=2)
    time.sleep(SYNC_S)
    story.events = plane.get("events.v1.events.k8s.io", "-n", NAMESPACE)["items"]


def test_the_autoscalers_controller_follows_our_ceiling_and_its_owner_has_his_own_back_exactly(story: Story) -> None:
    ceilings = values(story.told.of(AUTOSCALERS, "chat"), "spec", "maxReplicas")
    replicas = values(story.told.of("deployments", "chat", until_s=story.back_s), "spec", "replicas")
    print(f"ceilings of chat {ceilings}, its replicas {replicas}")
    assert ceilings[0] == ceilings[-1] == CEILINGS["chat"]
    assert replicas[0] == 6
    assert replicas[-1] == min(ceilings) == 2
    reasons = {e["reason"] for e in story.events if e["regarding"]["kind"] == "HorizontalPodAutoscaler"}
    assert "SuccessfulRescale" in reasons
    assert story.replicas("chat") == 6, "the controller lets it grow again"


def test_it_and_we_do_not_flap(story: Story) -> None:
    down = values(story.told.of(AUTOSCALERS, "chat", story.cut_s, story.back_s), "spec", "maxReplicas")
    up = values(story.told.of(AUTOSCALERS, "chat", story.back_s), "spec", "maxReplicas")
    assert down == sorted(down, reverse=True)
    assert up == sorted(up)
    assert len(down) <= 3
    assert len(up) <= 3
    assert writes(story, AUTOSCALERS, "chat") <= 6
    replicas = values(story.told.of("deployments", "chat", story.cut_s, story.back_s), "spec", "replicas")
    assert replicas == sorted(replicas, reverse=True)
    calm = story.told.of(AUTOSCALERS, "chat", story.held_s, story.left_s)
    assert len(values(calm, "spec")) == 1, "for all the time that watts are short"


def test_a_manifest_without_our_field_is_applied_for_ever_and_changes_nothing(story: Story) -> None:
    for plural, name, own in (("jobs", "train", "spec.suspend"), (AUTOSCALERS, "talk", "spec.maxReplicas")):
        bodies = story.told.of(plural, name, story.plain_s, story.forced_s)
        assert len(values(bodies, "spec")) == 1
        assert all(own in owned(body, US) and own not in owned(body, FLUX) for body in bodies)
    train = story.told.of("jobs", "train", story.plain_s, story.forced_s)
    assert values(train, "spec", "suspend") == [True]


def test_a_manifest_with_our_field_meets_a_conflict_that_names_us(story: Story) -> None:
    suspend, ceiling = story.refused
    assert f'conflict with "{US}": .spec.suspend' in suspend
    assert f'conflict with "{US}": .spec.maxReplicas' in ceiling


def test_a_field_that_the_owner_forces_is_his_and_we_do_not_turn_it_again(story: Story) -> None:
    train = story.told.of("jobs", "train", story.forced_s)
    assert values(train, "spec", "suspend") == [True, False]
    assert owned(train[-1], US) == {LEFT_ALONE}
    talk = story.told.of(AUTOSCALERS, "talk", story.forced_s)
    ceilings = values(talk, "spec", "maxReplicas")
    print(f"ceilings of talk {ceilings}")
    assert ceilings[-1] == CEILINGS["talk"]
    assert len(ceilings) == 2
    assert not owned(talk[-1], US)
    assert writes(story, AUTOSCALERS, "talk", story.forced_s) <= 2


def test_people_are_told_that_a_ceiling_is_left_alone(story: Story) -> None:
    ours = [e for e in story.events if e.get("reportingController") == "wattlease.io/operator"]
    [event] = [e for e in ours if e["reason"] == "CeilingOverruled"]
    assert (event["regarding"]["name"], event["type"]) == ("talk", "Warning")
    assert "left alone for 10 minutes" in event["note"]


def test_while_the_owner_has_his_way_the_site_stays_under_its_limit(story: Story) -> None:
    hardware = story.site.hardware
    assert not hardware.over(LOW_W, story.cut_s + TTL_S, story.back_s)
    assert not hardware.over(HIGH_W)


def test_of_a_scaled_object_only_the_pause_of_scaling_out_is_written_and_taken_away_again(story: Story) -> None:
    bodies = story.told.of(SCALED, "answer")
    marks = {"autoscaling.keda.sh/paused-scale-out": "true", "wattlease.io/held-by": US}
    own = {"team.example.com/owner": "search"}
    assert values(bodies, "metadata", "annotations") == [own, own | marks, own]
    assert len(values(bodies, "spec")) == 1


def test_every_field_that_was_ever_ours_is_documented(story: Story) -> None:
    assert not story.told.broken
    table, seen = documented(), {}
    for version in story.told.all:
        words = table.get(version.plural, (set(), set()))[0]
        fields = owned(version.body, US)
        assert all(allowed(name, words) for name in fields), f"{version.plural}/{version.name}: {fields}"
        seen.setdefault(version.plural, set()).update(fields)
    print({plural: sorted(fields) for plural, fields in seen.items()})
    used = {plural for plural, fields in seen.items() if fields}
    assert used == set(PLURALS.values()) - {"pods", "deployments"}  # a gate is only removed, and no model swaps here


def test_no_object_of_others_ever_has_a_finalizer_or_a_word_of_our_framework(story: Story) -> None:
    for version in story.told.all:
        text = str(version.body["metadata"])
        assert "kopf" not in text
        assert not [f for f in version.body["metadata"].get("finalizers", ()) if "wattlease" in f]


def test_afterwards_every_object_is_as_its_owner_applied_it(story: Story) -> None:
    table = documented()
    for (plural, name), before in story.before.items():
        after = story.newest(plural, name)
        differs = changed(own(before), own(after))
        stays = {LEFT_ALONE} & table["jobs"][1] if (plural, name) == ("jobs", "train") else set()
        assert differs <= stays, f"{plural}/{name}"
        assert not owned(after, US) - stays


def test_a_pod_that_waited_for_watts_has_lost_our_gate_and_nothing_else(story: Story) -> None:
    first, last = story.told.of("pods", "alone")[0], story.newest("pods", "alone")
    others = {"spec.nodeName"}  # the scheduler's
    assert changed(own(first), own(last)) - others == {"spec.schedulingGates"}


def own(body: Mapping[str, Any]) -> dict[str, Any]:
    """What its owner wrote, without what the server and its controllers keep there."""
    kept = ("labels", "annotations", "ownerReferences", "finalizers")
    meta = {name: body["metadata"].get(name, {}) for name in kept}
    notes = {k: v for k, v in meta["annotations"].items() if not k.startswith("deployment.kubernetes.io/")}
    return {"metadata": meta | {"annotations": notes}, "spec": body.get("spec", {})}


def writes(story: Story, plural: str, name: str, from_s: float = 0.0) -> int:
    """How often what is ours of an object, or when we wrote it, has changed."""
    bodies = story.told.of(plural, name, from_s)
    return sum(ours(before) != ours(after) for before, after in pairwise(bodies))


def ours(body: Mapping[str, Any]) -> list[Any]:
    return [entry for entry in body["metadata"].get("managedFields", ()) if entry["manager"] == US]
