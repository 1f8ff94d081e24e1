"""A real gateway in front of a cluster's Services: Traefik, outside the cluster, following its HTTPRoutes."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kube_binaries import Binaries
from kube_plane import ControlPlane
from kube_program import Program
from ports import free_port

API = "gateway.networking.k8s.io/v1"
NAMESPACE, NAME = "gateways", "web"


@contextmanager
def gateway(plane: ControlPlane) -> Iterator[str]:
    """The Gateway API's kinds and a gateway at work while the block lasts; the address that clients ask."""
    binaries, port = Binaries.standing("traefik"), free_port()
    plane.kubectl("apply", "--server-side", "-f", str(binaries.share("gateway-api.yaml")))
    plane.until(lambda: _served(plane), "the API server serves the Gateway API")
    plane.apply(*_objects(port))
    words = [
        f"--entrypoints.web.address=127.0.0.1:{port}", "--providers.kubernetesgateway=true", "--log.level=INFO",
        f"--providers.kubernetesgateway.endpoint={plane.url}", f"--providers.kubernetesgateway.token={plane.token}",
        f"--providers.kubernetesgateway.certauthfilepath={plane.authority}",
        "--global.checknewversion=false", "--global.sendanonymoususage=false",
    ]  # fmt: skip
    program = Program(plane.log, "traefik", [binaries.path("traefik"), *words])
    plane.programs["traefik"] = program
    program.start()
    try:
        plane.until(lambda: _accepted(plane), "the gateway is accepted")
        yield f"http://127.0.0.1:{port}"
    finally:
        program.end()
        del plane.programs["traefik"]


def route(name: str, namespace: str, host: str, weights: Sequence[tuple[str, int]], port: int) -> dict[str, Any]:
    """A route of all requests for a host, by these weights of Services."""
    backends = [{"name": service, "port": port, "weight": weight} for service, weight in weights]
    spec = {
        "parentRefs": [{"name": NAME, "namespace": NAMESPACE}],
        "hostnames": [host],
        "rules": [{"backendRefs": backends}],
    }
    return {"apiVersion": API, "kind": "HTTPRoute", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def own_address() -> str:
    """One of this machine's own: EndpointSlices take no loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect(("198.51.100.1", 9))  # of the documentation's; nothing is sent
        found: str = asked.getsockname()[0]
        return found


def _served(plane: ControlPlane) -> bool:
    return plane.ask("GET", f"/apis/{API}/httproutes")[0] == 200


def _accepted(plane: ControlPlane) -> bool:
    conditions = plane.get("gateway", NAME, "-n", NAMESPACE).get("status", {}).get("conditions", ())
    return any(c["type"] == "Programmed" and c["status"] == "True" for c in conditions)


def _objects(port: int) -> list[dict[str, Any]]:
    listener = {"name": "web", "protocol": "HTTP", "port": port, "allowedRoutes": {"namespaces": {"from": "All"}}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": API,
            "kind": "GatewayClass",
            "metadata": {"name": "traefik"},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
        {
            "apiVersion": API,
            "kind": "Gateway",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"gatewayClassName": "traefik", "listeners": [listener]},
        },
    ]
