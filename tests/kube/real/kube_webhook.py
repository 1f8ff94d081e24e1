"""A validating webhook that allows everything, and takes its time."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from kube_plane import ControlPlane

from wattlease.runtime import pki

NAME = "slow.wattlease.example"


@dataclass
class Slow:
    """`asked` are the resources that it was asked about, as `plural` or `plural/subresource`."""

    delay_s: float
    asked: list[str] = field(default_factory=list)


@contextmanager
def slow_webhook(plane: ControlPlane, delay_s: float, rules: Sequence[Mapping[str, Any]]) -> Iterator[Slow]:
    """While the block lasts each write that `rules` speak of waits so long in the API server."""
    folder, slow = plane.folder / "webhook", Slow(delay_s)
    pki.found(folder)
    issued = pki.issue_grantor(folder, "webhook", 1.0, ["127.0.0.1"])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _answering(slow))
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(issued.certificate, issued.key)
    server.socket = trust.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    plane.apply(_configuration(server.server_address[1], folder / "ca.crt", rules))
    try:
        yield slow
    finally:
        plane.kubectl("delete", "validatingwebhookconfiguration", NAME)
        server.shutdown()


def _configuration(port: int, authority: Path, rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    bundle = base64.b64encode(authority.read_bytes()).decode()
    webhook = {
        "name": NAME,
        "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": bundle},
        "rules": [{"operations": ["CREATE", "UPDATE"], **rule} for rule in rules],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "timeoutSeconds": 30,
    }
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    return {**head, "metadata": {"name": NAME}, "webhooks": [webhook]}


def _answering(slow: Slow) -> type[BaseHTTPRequestHandler]:
    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            slow.asked.append("/".join(filter(None, (request["resource"]["resource"], request.get("subResource")))))
            time.sleep(slow.delay_s)
            review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
            told = json.dumps({**review, "response": {"uid": request["uid"], "allowed": True}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Answering
