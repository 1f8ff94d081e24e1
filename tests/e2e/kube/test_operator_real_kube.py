"""The operator on a real API server: what `kubectl` tells, what is refused, and what happens when a part dies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kube_kwok import kwok
from kube_plane import ControlPlane, KubectlError
from kube_site import API, BUDGET, Site
from kube_tokens import NAMESPACE
from kube_webhook import slow_webhook

NODES = ("gpu-1", "gpu-2")
LIMIT_W = 12_000.0
TTL_S = 10.0
"""A grant lasts as long."""

BUDGETS = f"{API}/powerbudgets"
SLOWED = (
    {"apiGroups": ["wattlease.io"], "apiVersions": ["*"], "resources": ["*/status"]},
    {"apiGroups": [""], "apiVersions": ["*"], "resources": ["nodes", "nodes/status", "configmaps", "pods"]},
    {"apiGroups": ["events.k8s.io"], "apiVersions": ["*"], "resources": ["events"]},
)
"""All that the operator writes of other objects than the Lease by which it leads."""

EVENING = {"name": "evening", "days": ["Mon"], "start": "17:00", "end": "20:00", "limitWatts": 9000}


@pytest.fixture(scope="module")
def site(binaries: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two nodes, an agent on each, and two operators."""
    with ControlPlane(binaries, tmp_path_factory.mktemp("operator")) as plane, kwok(plane, NODES):
        found = Site(plane, NODES, (), limit_w=LIMIT_W, operators=2)
        with found.running():
            yield found


def condition(site: Site, kind: str) -> tuple[str, str]:
    conditions = site.status().get("conditions", ())
    return next(((c["status"], c["reason"]) for c in conditions if c["type"] == kind), ("", ""))


def until_condition(site: Site, kind: str, wanted: tuple[str, str], patience_s: float = 40.0) -> float:
    return site.until(lambda: condition(site, kind) == wanted, f"{kind} is {wanted}", patience_s)


def lease(site: Site) -> tuple[str, int]:
    """Who leads, and under which epoch."""
    found = site.plane.get("lease", "wattlease-operator", "-n", NAMESPACE)
    return found["spec"]["holderIdentity"], int(found["metadata"]["annotations"]["wattlease.io/epoch"])


def leader(site: Site) -> int:
    """The operator that renews: its page is the one that moves."""
    return next(i for i in range(2) if site.view(i) and time.time() - site.view(i)["now_s"] < 5.0)


def patch(site: Site, spec: str) -> None:
    site.plane.kubectl("patch", "powerbudget", BUDGET, "--type=merge", "-p", f'{{"spec": {spec}}}')


def test_a_budget_tells_its_story_in_one_line_and_in_conditions(site: Site) -> None:
    until_condition(site, "Ready", ("True", "Governed"))
    until_condition(site, "WithinLimit", ("True", "Within"))
    for kind, wanted in (
        ("MetersHealthy", ("Unknown", "NoMeters")), ("Shedding", ("False", "NothingGivenUp")),
        ("FallbackFits", ("True", "Fits")), ("Shadow", ("False", "Enforce")),
    ):  # fmt: skip
        assert condition(site, kind) == wanted
    head, row = site.plane.kubectl("get", "powerbudget", BUDGET).splitlines()
    assert head.split()[:7] == ["NAME", "LIMIT", "DRAW", "HEADROOM", "STATE", "BINDING", "MODE"]
    limit, draw, headroom, state = row.split()[1:5]
    assert (int(limit), state) == (LIMIT_W, "Within")
    assert int(draw) + int(headroom) == LIMIT_W
    body = site.plane.get("powerbudget", BUDGET)
    assert body["status"]["observedGeneration"] == body["metadata"]["generation"]


def test_nothing_is_written_on_objects_of_others(site: Site) -> None:
    site.plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}})
    body = site.plane.kubectl("get", "powerbudget", BUDGET, "-o", "json", "--show-managed-fields")
    for text in (body, site.plane.kubectl("get", "nodes", "-o", "json")):
        assert "finalizers" not in text
        assert "kopf" not in text


def test_nonsense_is_refused_at_the_door_and_what_the_door_cannot_see_by_the_operator(site: Site) -> None:
    for nonsense in ('{"limitWatts": -5}', '{"guaranteedWatts": 99999999}', '{"mode": "Perhaps"}'):
        with pytest.raises(KubectlError):
            patch(site, nonsense)
    zone = str({**EVENING, "timeZone": "Europe/Atlantis"}).replace("'", '"')
    patch(site, f'{{"limitWatts": 11000, "schedule": [{zone}]}}')
    until_condition(site, "Ready", ("False", "Refused"))
    told = next(c["message"] for c in site.status()["conditions"] if c["type"] == "Ready")
    assert "Europe/Atlantis" in told
    assert "last good form stands" in told
    assert site.status()["limitWatts"] == LIMIT_W
    patch(site, f'{{"limitWatts": {LIMIT_W:.0f}, "schedule": null}}')
    until_condition(site, "Ready", ("True", "Governed"))


def test_an_edit_is_followed_within_a_time_to_live_and_one_that_nothing_can_meet_says_so(site: Site) -> None:
    site.limit(8000.0)
    site.until(lambda: site.hardware.allowed_w() <= 8000.0, "cards' limits fit under the lower limit", TTL_S + 5.0)
    site.until(lambda: site.status().get("limitWatts") == 8000, "the status tells of it", 20.0)
    site.limit(LIMIT_W)
    least_w = 2 * site.agents.fallback_w
    patch(site, f'{{"limitWatts": {least_w / 2:.0f}, "guaranteedWatts": {least_w / 2:.0f}}}')
    until_condition(site, "WithinLimit", ("False", "LimitCannotBeHeld"))
    until_condition(site, "FallbackFits", ("False", "FallbackTooHigh"))
    events = site.plane.get("events.v1.events.k8s.io", "-n", "default")["items"]
    ours = [e for e in events if e["regarding"]["kind"] == "PowerBudget" and e["type"] == "Warning"]
    assert "LimitCannotBeHeld" in {e["reason"] for e in ours}
    patch(site, f'{{"limitWatts": {LIMIT_W:.0f}, "guaranteedWatts": {least_w + 1:.0f}}}')
    until_condition(site, "WithinLimit", ("True", "Within"), 60.0)


def test_when_the_leader_is_killed_the_other_leads_within_its_time_to_live_under_a_higher_epoch(site: Site) -> None:
    before, one = lease(site), leader(site)
    site.operators[one].kill()
    begun_s, highest_w = time.monotonic(), 0.0
    while lease(site)[1] == before[1]:
        assert time.monotonic() - begun_s < 15.0
        highest_w = max(highest_w, site.hardware.allowed_w())
    took_s = time.monotonic() - begun_s
    while time.monotonic() - begun_s < 25.0:
        highest_w = max(highest_w, site.hardware.allowed_w())
        time.sleep(0.1)
    after = lease(site)
    assert after[1] > before[1]
    assert after[0] != before[0]
    assert took_s < 8.0, "five seconds of the Lease, and two looks"
    assert highest_w <= LIMIT_W
    site.operators[one].start()
    site.until(lambda: leader(site) == 1 - one, "the other leads on")


def test_a_lease_that_is_deleted_changes_nobody_and_lowers_no_epoch(site: Site) -> None:
    before = lease(site)
    site.plane.kubectl("delete", "lease", "wattlease-operator", "-n", NAMESPACE)
    time.sleep(8.0)
    assert lease(site) == before


def test_while_the_api_server_stands_still_the_limit_holds_and_nothing_falls_over(site: Site) -> None:
    server, before = site.plane.programs["kube-apiserver"], lease(site)
    server.pause()
    begun_s, highest_w = time.monotonic(), 0.0
    while time.monotonic() - begun_s < 30.0:
        highest_w = max(highest_w, site.hardware.allowed_w())
        time.sleep(0.1)
    server.resume()
    site.until(lambda: lease(site)[1] > before[1], "one of them leads anew", 30.0)
    assert all(operator.alive for operator in site.operators)
    assert highest_w <= LIMIT_W
    site.limit(LIMIT_W - 1000.0)
    site.until(lambda: site.status().get("limitWatts") == LIMIT_W - 1000.0, "an edit is followed again", 40.0)
    site.limit(LIMIT_W)


def test_watches_whose_history_is_gone_are_begun_anew(site: Site) -> None:
    """An API server that was killed has no history: who asks to watch on from before is answered 410 Gone."""
    plane, before = site.plane, site.plane.read(BUDGETS)["metadata"]["resourceVersion"]
    site.limit(LIMIT_W - 500.0)
    plane.programs["kube-apiserver"].kill()
    plane.start("kube-apiserver")
    plane.until(plane.ready, "the API server is back")
    site.limit(LIMIT_W - 1000.0)
    told = plane.kubectl("get", "--raw", f"{BUDGETS}?watch=1&timeoutSeconds=2&resourceVersion={before}")
    assert '"code":410' in told
    site.until(lambda: site.status().get("limitWatts") == LIMIT_W - 1000.0, "an edit is followed again", 60.0)
    assert site.hardware.allowed_w() <= LIMIT_W
    site.limit(LIMIT_W)


def test_while_a_webhook_holds_every_write_of_ours_for_eight_seconds_a_lower_limit_is_kept_in_time(site: Site) -> None:
    site.until(lambda: site.status().get("limitWatts") == LIMIT_W, "the limit is as it was", 60.0)
    before = lease(site)
    with slow_webhook(site.plane, 8.0, SLOWED) as slow:
        time.sleep(10.0)  # API servers hear of a webhook within seconds
        site.limit(8000.0)
        site.until(lambda: site.hardware.allowed_w() <= 8000.0, "cards' limits fit under the lower limit", TTL_S + 5.0)
        site.until(lambda: site.status().get("limitWatts") == 8000, "the status tells of it", 60.0)
        assert "powerbudgets/status" in slow.asked
    assert lease(site) == before
    site.limit(LIMIT_W)


def test_in_shadow_mode_nothing_is_held_and_the_status_says_what_would_be(site: Site) -> None:
    patch(site, '{"mode": "Shadow"}')
    until_condition(site, "Shadow", ("True", "Shadow"))
    site.until(lambda: site.hardware.allowed_w() > LIMIT_W, "every card may draw what it can")
    patch(site, '{"mode": "Enforce"}')
    until_condition(site, "Shadow", ("False", "Enforce"))
    site.until(lambda: site.hardware.allowed_w() <= LIMIT_W, "the limit holds again", TTL_S + 5.0)


def test_while_the_definition_is_gone_the_limit_holds_and_afterwards_it_is_followed_again(site: Site) -> None:
    written = site.plane.get("crd", "powerbudgets.wattlease.io")
    budget = site.plane.get("powerbudget", BUDGET)
    before = lease(site)
    site.plane.kubectl("delete", "crd", "powerbudgets.wattlease.io")
    time.sleep(5.0)
    assert lease(site) == before
    assert site.hardware.allowed_w() <= LIMIT_W
    bare = {k: written[k] for k in ("apiVersion", "kind", "spec")}
    site.plane.apply({**bare, "metadata": {"name": "powerbudgets.wattlease.io"}})
    head = {k: budget[k] for k in ("apiVersion", "kind", "spec")}
    site.plane.until(
        lambda: applied(site.plane, {**head, "metadata": {"name": BUDGET}}), "the budget can be applied again"
    )  # fmt: skip
    until_condition(site, "Ready", ("True", "Governed"), 120.0)


def applied(plane: ControlPlane, manifest: dict[str, Any]) -> bool:
    try:
        plane.apply(manifest)
    except KubectlError:
        return False
    return True
