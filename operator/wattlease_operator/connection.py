"""How the API server is reached: by a kubeconfig, else as the pod that this is."""

from __future__ import annotations

import os
from pathlib import Path

import kopf
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from wattlease.core.errors import BudgetError


async def connection(kubeconfig: str | None = None) -> Configuration:
    """Address and credentials, as `kubectl` would find them; tokens are read anew when they end.

    BudgetError where neither a kubeconfig nor a pod's service account is there.
    """
    found = Configuration()
    path = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    try:
        if kubeconfig or os.environ.get("KUBECONFIG") or Path(path).exists():
            await config.load_kube_config(config_file=path, client_configuration=found)  # type: ignore[no-untyped-call]
        else:
            config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError) as missing:
        told = f"no API server is known: {missing}; run in a pod with a service account, or give a kubeconfig"
        raise BudgetError(told) from missing
    found.retries = None  # who calls decides whether to try again
    return found


async def login(found: Configuration) -> kopf.ConnectionInfo:
    """The same for kopf."""
    header = await found.get_api_key_with_prefix("BearerToken")
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        username=found.username or None,
        password=found.password or None,
        scheme="Bearer" if header else None,
        token=header.split(" ", 1)[-1] if header else None,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
    )
