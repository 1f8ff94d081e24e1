"""Pods and their GPUs, asked of the kubelet over its pod-resources socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError

from wattlease.agent.cards import Trouble
from wattlease.agent.jobs import Holding
from wattlease.agent.jobs.podresources import LIST, ListRequest, ListResponse

SOCKET = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
RESOURCES = "nvidia.com/"
DRA_DRIVER = "gpu.nvidia.com"
TIMEOUT_S = 2.0

MAX_BYTES = 16 << 20
"""The kubelet's own bound on an answer (its `defaultPodResourcesMaxSize`)."""

OPTIONS = (
    ("grpc.max_receive_message_length", MAX_BYTES),
    # Go's HTTP/2 server refuses the socket's path as an authority.
    ("grpc.default_authority", "localhost"),
    # Channels that share connections share their backoff too: a kubelet that is back would be unseen for a while.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy that the environment names is no way to a socket.
    ("grpc.enable_http_proxy", 0),
)


async def pods(socket: Path = SOCKET, timeout_s: float = TIMEOUT_S) -> tuple[Holding, ...] | Trouble:
    """Which pod holds which GPU now, jobs named `namespace/pod`; asked anew, for a kubelet restarts unannounced."""
    trouble = _no_socket(socket)
    if trouble is not None:
        return trouble
    async with grpc.aio.insecure_channel(f"unix:{socket.absolute()}", options=OPTIONS) as channel:
        call = channel.unary_unary(LIST)
        try:
            answer = ListResponse.FromString(await call(ListRequest().SerializeToString(), timeout=timeout_s))
        except grpc.aio.AioRpcError as error:
            return _told(socket, timeout_s, error)
        except DecodeError as error:
            return Trouble(f"{socket}: no answer of the pod-resources API v1: {error}")
    return tuple(dict.fromkeys(_holdings(answer)))


def _no_socket(socket: Path) -> Trouble | None:
    try:
        there = socket.is_socket()
    except OSError as error:
        return Trouble(f"{socket}: {error.strerror}; run the agent as root, with this folder mounted")
    if there:
        return None
    return Trouble(
        f"{socket}: no socket; is a kubelet running here, and its folder mounted into the agent's container?"
    )


def _told(socket: Path, timeout_s: float, error: grpc.aio.AioRpcError) -> Trouble:
    match error.code():
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return Trouble(f"{socket}: the kubelet did not answer within {timeout_s:g} s")
        case grpc.StatusCode.UNIMPLEMENTED:
            return Trouble(f"{socket}: this kubelet has no pod-resources API v1, which came with Kubernetes 1.20")
    return Trouble(f"{socket}: {error.code().name.lower()}: {error.details() or 'no reason given'}")


def _holdings(answer: Any) -> Iterator[Holding]:
    for pod in answer.pod_resources:
        job = f"{pod.namespace}/{pod.name}"
        for container in pod.containers:
            for devices in container.devices:
                if devices.resource_name.startswith(RESOURCES):
                    yield from (_device(job, name) for name in devices.device_ids)
            for claim in container.dynamic_resources:
                held = (part.device_name for part in claim.claim_resources if part.driver_name == DRA_DRIVER)
                yield from (Holding(job, name) for name in held)


def _device(job: str, name: str) -> Holding:
    """A device plugin's id: a uuid, `uuid::3` for a replica, or `nvidia0/vgpu3` for one of Google's."""
    for mark in ("::", "/vgpu"):
        device, found, replica = name.partition(mark)
        if found:
            return Holding(job, device, replica)
    return Holding(job, name)
