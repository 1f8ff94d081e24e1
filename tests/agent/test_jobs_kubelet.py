"""Pods and their GPUs, from a real gRPC server on a real socket. Answers are wire bytes by the public field numbers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from wattlease.agent.cards import Card, Trouble
from wattlease.agent.jobs import Holding, held_by_card, strangers
from wattlease.agent.jobs.kubelet import pods
from wattlease.agent.jobs.podresources import LIST

Answer = Callable[[], Awaitable[bytes]]


def field(number: int, content: bytes | str) -> bytes:
    """A length-delimited field of protobuf's wire format; contents here are shorter than 16384 bytes."""
    data = content.encode() if isinstance(content, str) else content
    length = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])
    return bytes([number << 3 | 2]) + length + data


def pod(namespace: str, name: str, *containers: bytes) -> bytes:
    return field(1, field(1, name) + field(2, namespace) + b"".join(field(3, container) for container in containers))


def plugin(resource: str, *devices: str) -> bytes:
    """A container with a device plugin's devices, its processors (field 3) and the devices' NUMA node (field 3)."""
    numa = field(3, field(1, b"\x08\x01"))
    held = field(1, resource) + b"".join(field(2, device) for device in devices) + numa
    return field(1, "main") + field(2, held) + field(3, b"\x00\x01")


def claim(driver: str, device: str) -> bytes:
    resource = field(1, field(1, f"k8s.{driver}/claim=x-{device}")) + field(2, driver) + field(3, "n1")
    return field(1, "main") + field(5, field(2, "c") + field(3, "ml") + field(4, resource + field(4, device)))


@asynccontextmanager
async def kubelet(socket: Path, answer: Answer, method: str = LIST) -> AsyncIterator[None]:
    async def asked(request: bytes, context: object) -> bytes:
        return await answer()

    service, name = method.strip("/").split("/")
    handlers = {name: grpc.unary_unary_rpc_method_handler(asked)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


def saying(data: bytes) -> Answer:
    async def answer() -> bytes:
        return data

    return answer


async def test_pods_hold_gpus_instances_replicas_and_claims(tmp_path: Path) -> None:
    told = [
        pod("ml", "train-0", plugin("nvidia.com/gpu", "GPU-a", "GPU-b")),
        pod("ml", "tune", plugin("nvidia.com/mig-1g.10gb", "MIG-1")),
        pod("web", "chat", plugin("nvidia.com/gpu.shared", "GPU-c::1"), plugin("cpu.io/x", "7")),
        pod("gke", "serve", plugin("nvidia.com/gpu", "nvidia3/vgpu0")),
        pod("dra", "new", claim("gpu.nvidia.com", "gpu-4"), claim("net.io", "eth0")),
        pod("sys", "log", field(1, "main")),
    ]
    async with kubelet(tmp_path / "k.sock", saying(b"".join(told))):
        found = await pods(tmp_path / "k.sock")
    assert found == (
        Holding("ml/train-0", "GPU-a"),
        Holding("ml/train-0", "GPU-b"),
        Holding("ml/tune", "MIG-1"),
        Holding("web/chat", "GPU-c", "1"),
        Holding("gke/serve", "nvidia3", "0"),
        Holding("dra/new", "gpu-4"),
    )


async def test_an_answer_of_a_thousand_pods_comes_in_whole(tmp_path: Path) -> None:
    told = b"".join(pod("ml", f"p{n}", plugin("nvidia.com/gpu", f"GPU-{n:040}" * 120)) for n in range(1000))
    assert len(told) > 4 << 20  # gRPC's own bound
    async with kubelet(tmp_path / "k.sock", saying(told)):
        found = await pods(tmp_path / "k.sock")
    assert isinstance(found, tuple)
    assert len(found) == 1000


async def test_a_missing_socket_is_told(tmp_path: Path) -> None:
    found = await pods(tmp_path / "k.sock")
    assert isinstance(found, Trouble)
    assert "no socket" in found.text


async def test_a_kubelet_that_hangs_is_waited_for_no_longer_than_allowed(tmp_path: Path) -> None:
    hung = asyncio.Event()

    async def answer() -> bytes:
        await hung.wait()
        return b""

    async with kubelet(tmp_path / "k.sock", answer):
        began_s = time.monotonic()
        found = await pods(tmp_path / "k.sock", timeout_s=0.2)
        took_s = time.monotonic() - began_s
        hung.set()
    assert isinstance(found, Trouble)
    assert "within 0.2 s" in found.text
    assert took_s < 20.0


async def test_a_socket_that_nobody_serves_is_told_and_seen_again_at_once_when_it_is(tmp_path: Path) -> None:
    socket = tmp_path / "k.sock"
    listener = await asyncio.start_unix_server(lambda reader, writer: writer.close(), socket)
    listener.close()
    await listener.wait_closed()
    gone = await pods(socket, timeout_s=1.0)
    assert isinstance(gone, Trouble)
    socket.unlink(missing_ok=True)
    async with kubelet(socket, saying(pod("ml", "a", plugin("nvidia.com/gpu", "GPU-a")))):
        assert await pods(socket, timeout_s=1.0) == (Holding("ml/a", "GPU-a"),)


async def test_an_old_kubelet_is_named_as_such(tmp_path: Path) -> None:
    async with kubelet(tmp_path / "k.sock", saying(b""), "/v1alpha1.PodResourcesLister/List"):
        found = await pods(tmp_path / "k.sock")
    assert isinstance(found, Trouble)
    assert "1.20" in found.text


async def test_an_answer_that_is_no_protobuf_is_a_value(tmp_path: Path) -> None:
    async with kubelet(tmp_path / "k.sock", saying(b"\xff\xff\xff")):
        found = await pods(tmp_path / "k.sock")
    assert isinstance(found, Trouble)


def test_the_first_source_that_knows_a_card_speaks_for_it() -> None:
    cards = [Card(f"GPU-{n}", n, "H100", 200.0, 700.0, 700.0) for n in range(3)]
    prolog = [Holding("7", "0"), Holding("8", "9")]
    processes = [Holding("9", "GPU-0"), Holding("9", "GPU-1")]
    held = held_by_card(cards, prolog, processes)
    assert held == {"GPU-0": (Holding("7", "GPU-0"),), "GPU-1": (Holding("9", "GPU-1"),), "GPU-2": ()}
    assert strangers(cards, [*prolog, *processes]) == ("9",)
