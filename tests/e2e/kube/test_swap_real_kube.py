"""A service becomes a smaller model and comes back, behind a real gateway, under a client that reads every stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kube_binaries import Binaries, BinariesError
from kube_gateway import gateway, route
from kube_kwok import kwok
from kube_models import PORT, Client, Models, Server, Serving
from kube_plane import ControlPlane
from kube_site import Site
from kube_work import deployment

EXAMPLE = Path(__file__).parents[3] / "examples/kubernetes/swap.yaml"
NODES = ("gpu-1",)
LARGE, SMALL = "chat-70b", "chat-8b"
LARGE_GPUS, SMALL_GPUS = 4, 1
BUSY_W = {LARGE: 600.0, SMALL: 560.0}
DRAW_FRAC = SMALL_GPUS * BUSY_W[SMALL] / (LARGE_GPUS * BUSY_W[LARGE])
HIGH_W, LOW_W = 6_400.0, 3_200.0
"""Below what the large model draws, by more than its cards can be capped within reason."""

SWAP_S = 150.0
"""Three steps of ten seconds, what goes before and after them, and a machine that does other work too."""

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Hall:
    """The site, its gateway, and the models in it."""

    site: Site
    models: Models
    gateway: str


@dataclass(frozen=True)
class Chat:
    """A service with two models in a namespace of its own, and its client."""

    hall: Hall
    namespace: str
    client: Client
    large: Server
    small: Server

    @property
    def plane(self) -> ControlPlane:
        return self.hall.site.plane

    def weights(self) -> list[int]:
        body = self.plane.read(f"/apis/gateway.networking.k8s.io/v1/namespaces/{self.namespace}/httproutes/chat")
        return [backend["weight"] for backend in body["spec"]["rules"][0]["backendRefs"]]

    def replicas(self, name: str) -> int:
        found: int = self.plane.read(f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}")["spec"][
            "replicas"
        ]
        return found

    def written(self) -> dict[str, Any]:
        """What its owner wrote, and who else has written there."""
        found = {}
        for kind, name in (("httproute", "chat"), ("deployment", LARGE), ("deployment", SMALL)):
            body = self.plane.get(kind, name, "-n", self.namespace, "--show-managed-fields")
            owners = {m["manager"] for m in body["metadata"]["managedFields"] if not m.get("subresource")}
            marks = {k: v for k, v in body["metadata"].get("annotations", {}).items() if "deployment." not in k}
            found[name] = body["spec"], marks, "wattlease" in owners and kind == "deployment"
        return found

    def reasons(self) -> list[str]:
        events = self.plane.get("events.v1.events.k8s.io", "-n", self.namespace)["items"]
        ours = [e for e in events if e.get("reportingController") == "wattlease.io/operator"]
        return [e["reason"] for e in sorted(ours, key=lambda e: e["eventTime"])]

    def notes(self) -> str:
        events = self.plane.get("events.v1.events.k8s.io", "-n", self.namespace)["items"]
        return " ".join(e.get("note", "") for e in events)

    def until(self, true: Callable[[], object], what: str, patience_s: float = SWAP_S) -> float:
        return self.hall.site.until(true, what, patience_s)

    def at_rest(self) -> bool:
        """As its owner made it."""
        return (self.weights(), self.replicas(LARGE), self.replicas(SMALL)) == ([100, 0], 1, 0)

    def swapped(self) -> bool:
        return (self.weights(), self.replicas(LARGE), self.replicas(SMALL)) == ([0, 100], 0, 1)

    def draw_w(self, over_s: float = 8.0) -> float:
        """What the cards of its pods draw, the mean of the last seconds."""
        hardware = self.hall.site.hardware
        slots = [
            s
            for job in hardware.jobs.values()
            if job.job.startswith(f"{self.namespace}/")
            for s in hardware._slots(job)
        ]
        samples = [s for s in hardware.samples if s.at_s >= time.monotonic() - over_s]
        return float(sum(sample.draws_w[slots].sum() for sample in samples) / max(len(samples), 1))


@pytest.fixture(scope="module")
def hall(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    try:
        Binaries.standing("traefik")
    except BinariesError as missing:
        pytest.skip(str(missing))
    budget = {
        "ramp": {"releasePercentPerMinute": 100},
        "dwell": {"pauseSeconds": 20, "holdSeconds": 5, "downsizeSeconds": 20},
    }
    with (
        ControlPlane(binaries, tmp_path_factory.mktemp("swap")) as plane,
        kwok(plane, NODES),
        gateway(plane) as address,
        Models(plane) as models,
    ):
        site = Site(plane, NODES, (Serving("chat-*", models, BUSY_W),), limit_w=HIGH_W, budget=budget)  # type: ignore[arg-type]
        with site.running():
            yield Hall(site, models, address)


@contextmanager
def chat(hall: Hall, namespace: str, **small: Any) -> Iterator[Chat]:
    """The service at work, its large model alone."""
    plane, host = hall.site.plane, f"{namespace}.example.com"
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    plane.until(lambda: plane.furnished(namespace), "the namespace is set up")
    large = hall.models.add(namespace, LARGE)
    other = hall.models.add(namespace, SMALL, **small)
    plane.apply(deployment(LARGE, LARGE_GPUS, 1, namespace), deployment(SMALL, SMALL_GPUS, 0, namespace))
    plane.apply(profile(namespace), route("chat", namespace, host, ((LARGE, 100), (SMALL, 0)), PORT))
    plane.until(lambda: large.told, "the large model answers")
    time.sleep(4.0)  # the gateway follows within seconds
    try:
        with Client(hall.gateway, host) as client:
            made = Chat(hall, namespace, client, large, other)
            made.until(lambda: client.models() == {LARGE}, "the client is answered", 30.0)
            made.until(lambda: made.draw_w() > 0.8 * LARGE_GPUS * BUSY_W[LARGE], "the large model is at work", 60.0)
            time.sleep(10.0)  # its draw is known by then
            client.answers.clear()
            yield made
    finally:
        hall.site.limit(HIGH_W)
        hall.models.forget(namespace)
        plane.kubectl("delete", "namespace", namespace, "--wait=false")
        plane.until(lambda: plane.ask("GET", f"/api/v1/namespaces/{namespace}")[0] == 404, "it is all gone", 90.0)


def profile(namespace: str) -> dict[str, Any]:
    variant = {"name": "8b", "drawPercent": round(100 * DRAW_FRAC), "speedPercent": 180, "qualityPercent": 90}
    variant |= {"swapSeconds": 30, "serving": {"service": SMALL, "deployment": SMALL}}
    swap = {"route": "chat", "own": {"service": LARGE, "deployment": LARGE}, "readySeconds": 25, "drainSeconds": 30}
    spec = {"kind": "Inference", "valuePerGpuHour": 6, "pausable": False, "variants": [variant], "swap": swap}
    meta = {"name": "chat", "namespace": namespace}
    return {"apiVersion": "wattlease.io/v1alpha1", "kind": "PowerProfile", "metadata": meta, "spec": spec}


def test_the_server_takes_the_example(hall: Hall) -> None:
    plane = hall.site.plane
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "research"}})
    plane.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", str(EXAMPLE))


def test_no_request_fails_while_a_large_model_becomes_a_small_one_and_comes_back(hall: Hall) -> None:
    with chat(hall, "smooth") as made:
        before, full_w = made.written(), made.draw_w()
        hall.site.limit(LOW_W)
        took_s = made.until(made.swapped, "the small model serves alone")
        made.until(lambda: made.client.models() == {SMALL}, "the small model answers everyone", 30.0)
        time.sleep(10.0)
        swapped_w = made.draw_w()
        print(f"swapped after {took_s:.0f} s; its cards drew {full_w:.0f} W and then {swapped_w:.0f} W")
        assert swapped_w == pytest.approx(DRAW_FRAC * full_w, rel=0.15)
        made.until(lambda: hall.site.hardware.drawn_w() < LOW_W, "the site is under its limit", 10.0)
        jobs = {job["id"]: job for job in hall.site.view()["jobs"]}
        assert f"deployment/smooth/{SMALL}" not in jobs
        hall.site.limit(HIGH_W)
        took_s = made.until(made.at_rest, "the large model serves alone again")
        made.until(lambda: made.client.models() == {LARGE}, "the large model answers everyone", 30.0)
        print(f"back after {took_s:.0f} s; {len(made.client.answers)} requests")
        made.until(lambda: made.written() == before, "all is as its owner wrote it", 30.0)
        assert not made.client.bad()
        assert len(made.client.answers) > 4 * 60
        assert made.reasons() == ["SwapBegun", "Swapped", "SwapBack", "Swapped"]
        assert "smaller model 8b" in made.notes()


def test_a_small_model_that_never_becomes_ready_gets_no_request_and_is_given_up(hall: Hall) -> None:
    with chat(hall, "never", starts_s=10_000.0) as made:
        hall.site.limit(LOW_W)
        made.until(lambda: made.replicas(SMALL) == 1, "the small model is woken", 60.0)
        made.until(lambda: "SwapFailed" in made.reasons(), "it is given up", 60.0)
        made.until(made.at_rest, "all is as it was", 60.0)
        assert made.client.models() == {LARGE}
        assert not made.client.bad()
        assert "did not answer" in made.notes()
        made.until(lambda: hall.site.hardware.drawn_w() < LOW_W, "caps hold the limit all the same", 30.0)


def test_a_small_model_that_answers_500_is_never_given_a_clients_request(hall: Hall) -> None:
    with chat(hall, "broken") as made:
        made.small.broken = True
        hall.site.limit(LOW_W)
        made.until(lambda: made.small.failed > 0, "the small model was tried", 60.0)
        made.until(lambda: "SwapFailed" in made.reasons(), "it is given up", 60.0)
        made.until(made.at_rest, "all is as it was", 60.0)
        assert not made.client.bad()


def test_a_small_model_that_begins_to_fail_loses_its_requests_at_once(hall: Hall) -> None:
    with chat(hall, "fails") as made:
        hall.site.limit(LOW_W)
        made.until(lambda: made.weights()[1] >= 50, "half of the requests are its own")
        made.small.broken = True
        broke_s = time.monotonic()
        made.until(lambda: made.weights() == [100, 0], "the large model has all requests again", 30.0)
        time.sleep(5.0)
        bad = made.client.bad()
        print(f"{len(bad)} requests failed, the last {max(a.at_s for a in bad) - broke_s if bad else 0.0:.1f} s after")
        assert all(broke_s - 2.0 <= answer.at_s <= broke_s + 12.0 for answer in bad)
        made.until(made.at_rest, "all is as it was", 90.0)
        assert "SwapFailed" in made.reasons()
