"""A real Kubernetes control plane on this machine: etcd, API server, controllers and scheduler, each a process."""

from __future__ import annotations

import json
import secrets
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kube_binaries import Binaries
from kube_program import Program
from ports import free_port

PATIENCE_S = 60.0
ISSUER = "https://kubernetes.default.svc"
WITHOUT = "WatchList=false"
"""Debian's etcd is too old for it, and clients that try it all the same wait for half a minute before they give up."""


class KubectlError(Exception):
    """kubectl ended badly; the text is what it said."""


class ControlPlane:
    """A cluster without nodes while the block lasts.

    `kubeconfig` is an administrator's, `url`, `authority` and `token` the same for programs that want them apart.
    `programs` holds every process by its name, for tests that hurt them.
    """

    def __init__(self, binaries: Binaries, folder: Path, *, api_flags: Sequence[str] = ()) -> None:
        self.binaries, self.folder, self.log = binaries, folder, folder / "log"
        self.kubeconfig, self.token = folder / "kubeconfig", secrets.token_hex(16)
        self._pki, self._api_flags = folder / "pki", tuple(api_flags)
        self._ports = {name: free_port() for name in ("api", "etcd", "peer", "controllers", "scheduler")}
        self.url = f"https://127.0.0.1:{self._ports['api']}"
        self.authority = self._pki / "apiserver.crt"  # made by the server, with its own authority in the same file
        self.programs = {name: Program(self.log, name, words) for name, words in self._words().items()}
        self.brought_up_s = 0.0

    def __enter__(self) -> Self:
        begun_s = time.monotonic()
        self._write_files()
        try:
            self.start("etcd", "kube-apiserver")
            self.until(self.ready, "the API server is ready")
            self.start("kube-controller-manager", "kube-scheduler")
            self.until(self.furnished, "the controllers are at work")
        except BaseException:
            self.end()
            raise
        self.brought_up_s = time.monotonic() - begun_s
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def start(self, *names: str) -> None:
        for name in names:
            self.programs[name].start()

    def end(self) -> None:
        """etcd last: what the others still write would fill their logs with complaints."""
        for program in reversed(self.programs.values()):
            program.end()

    # Asking

    def kubectl(self, *words: str, stdin: str = "", timeout_s: float = 30.0) -> str:
        """What kubectl said; raises KubectlError where it ends badly."""
        argv = [str(self.binaries.path("kubectl")), "--kubeconfig", str(self.kubeconfig), *words]
        argv.append(f"--cache-dir={self.folder / 'kubectl'}")
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout_s)
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Apply objects, server-side."""
        told = yaml.safe_dump_all(manifests)
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=told)

    def get(self, *words: str) -> Any:
        """`kubectl get ... -o json`, as objects; a second or so."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def has(self, *words: str) -> bool:
        try:
            return bool(self.kubectl("get", *words, "-o", "name", "--ignore-not-found"))
        except KubectlError:
            return False

    def read(self, path: str) -> Any:
        """An object, or a list of them, by its path; raises KubectlError where the server has none to give."""
        status, told = self.ask("GET", path)
        if status != HTTPStatus.OK:
            raise KubectlError(f"{path}: {told.get('message', status)}")
        return told

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.read(f"/api/v1/namespaces/{namespace}/pods")["items"]
        return found

    def job(self, namespace: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.read(f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}")
        return found

    def furnished(self, namespace: str = "default") -> bool:
        """Whether the controllers have set up a namespace: pods can be made in it."""
        return self.ask("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default")[0] == HTTPStatus.OK

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Status and answer of the API server itself: for whoever asks again and again, kubectl is slow."""
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        asked = Request(f"{self.url}{path}", data, headers, method=method)
        try:
            with urlopen(asked, timeout=10.0, context=self.trust) as answer:
                return answer.status, _told(answer.read())
        except HTTPError as refused:
            return refused.code, _told(refused.read())

    @cached_property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority))

    def ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz")[0] == HTTPStatus.OK
        except OSError:  # not there yet, nor its certificate
            return False

    def until(self, true: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> float:
        """Wait for it; return how long that took. A program that fell over is not waited for."""
        begun_s = time.monotonic()
        while not true():
            dead = [name for name, program in self.programs.items() if program.log.exists() and not program.alive]
            assert not dead, f"while waiting until {what}: {dead[0]} ended\n{self.programs[dead[0]].said()[-3000:]}"
            assert time.monotonic() - begun_s < patience_s, f"not within {patience_s:g} s: {what}"
            time.sleep(0.1)
        return time.monotonic() - begun_s

    # Files and words

    def _write_files(self) -> None:
        self._pki.mkdir(parents=True, exist_ok=True)
        key = rsa.generate_private_key(65537, 2048)
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        (self._pki / "sa.key").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        (self._pki / "sa.pub").write_bytes(public)
        (self._pki / "tokens.csv").write_text(f"{self.token},admin,admin,system:masters\n")
        cluster = {"server": self.url, "certificate-authority": str(self.authority)}
        written = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": "admin"}}],
            "current-context": "real",
        }
        self.kubeconfig.write_text(yaml.safe_dump(written))
        self.kubeconfig.chmod(0o600)

    def _words(self) -> dict[str, list[str | Path]]:
        path, port, pki = self.binaries.path, self._ports, self._pki
        etcd, peer = (f"http://127.0.0.1:{port[name]}" for name in ("etcd", "peer"))
        common = [f"--kubeconfig={self.kubeconfig}", "--leader-elect=false"]
        return {
            "etcd": [
                path("etcd"), f"--data-dir={self.folder / 'etcd'}", f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peer}", "--unsafe-no-fsync",
                f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
            ],
            "kube-apiserver": [
                path("kube-apiserver"), f"--etcd-servers={etcd}", f"--secure-port={port['api']}",
                "--bind-address=127.0.0.1", f"--cert-dir={pki}", f"--service-account-key-file={pki / 'sa.pub'}",
                f"--service-account-signing-key-file={pki / 'sa.key'}", f"--service-account-issuer={ISSUER}",
                f"--token-auth-file={pki / 'tokens.csv'}", "--authorization-mode=Node,RBAC",
                "--service-cluster-ip-range=10.0.0.0/24", "--allow-privileged=true",
                "--enable-aggregator-routing=true", f"--feature-gates={WITHOUT}", *self._api_flags,
            ],
            "kube-controller-manager": [
                path("kube-controller-manager"), *common, f"--secure-port={port['controllers']}",
                f"--service-account-private-key-file={pki / 'sa.key'}", f"--root-ca-file={self.authority}",
                "--use-service-account-credentials", f"--cert-dir={pki / 'controllers'}",
            ],
            "kube-scheduler": [
                path("kube-scheduler"), *common, f"--secure-port={port['scheduler']}",
                f"--cert-dir={pki / 'scheduler'}",
            ],
        }  # fmt: skip


def _told(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return {"message": data.decode(errors="replace")}
