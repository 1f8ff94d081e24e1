"""A grantor as a process: its lease service, its page, its leadership, and the file that it follows.

A cluster's controller is one, and so is the facility that leases clusters their shares (`Control`).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click
from prometheus_client import CollectorRegistry

from wattlease.core.errors import WattleaseError
from wattlease.runtime.cli import Refusal
from wattlease.runtime.controller.controller import Controller
from wattlease.runtime.controller.settings import ControllerSettings, GrantorSettings, Listen
from wattlease.runtime.controller.settings import Page as PageSettings
from wattlease.runtime.controller.surroundings import Surroundings, surroundings_of
from wattlease.runtime.controller.workload import Workload
from wattlease.runtime.files import load
from wattlease.runtime.garbage import collect_rarely
from wattlease.runtime.lease.clock import steady_s
from wattlease.runtime.lease.folder_leadership import FolderLeadership
from wattlease.runtime.lease.grantor import Grantor
from wattlease.runtime.lease.identity import Identity
from wattlease.runtime.lease.identity_certificate import ClientCertificates, HolderKind
from wattlease.runtime.lease.identity_secret import SharedSecret
from wattlease.runtime.lease.leadership import lead
from wattlease.runtime.lease.service import LeaseService
from wattlease.runtime.lease.service import serving as serving_lease
from wattlease.runtime.lease.service_metrics import LeaseMetrics
from wattlease.runtime.lease.store import StateFolder
from wattlease.runtime.lease.tls import ServerTls, TlsFiles
from wattlease.runtime.notify import READY, STOPPING, notify
from wattlease.runtime.record import Recorder
from wattlease.runtime.web import Page
from wattlease.runtime.web import serving as serving_page

LOOK_S = 0.5
"""How often the file is looked at for a change."""

SEGMENT_BYTES, SEGMENT_S = 64 * 1024 * 1024, 86_400.0
"""A record begins a new file after this much, or a day."""

log = logging.getLogger(__name__)


Settings = TypeVar("Settings", bound=ControllerSettings)
AnySettings = TypeVar("AnySettings", bound=GrantorSettings)


class Control(Protocol):
    """What decides and grants."""

    grantor: Grantor
    page: Page
    surroundings: Surroundings | None

    @property
    def settings(self) -> GrantorSettings:
        """What it holds to now."""

    def change(self, settings: Any) -> None:
        """Hold to these, of the same kind, from the next tick on. Raises BudgetError where they do not fit."""

    async def run(self) -> None:
        """Decide while the grantor leads, until cancelled."""


def hold(path: Path, kind: type[Settings], workload_of: Callable[[Settings], Awaitable[Workload]]) -> None:
    """Control nodes until Ctrl-C or SIGTERM. Raises as `serve` does."""

    async def control_of(settings: Settings, surroundings: Surroundings | None) -> Controller:
        store, workload = StateFolder(Path(settings.state_folder)), await workload_of(settings)
        return Controller(settings, store, workload, surroundings, recorder_of(settings))

    serve(path, kind, control_of, "node")


def serve(
    path: Path,
    kind: type[AnySettings],
    control_of: Callable[[AnySettings, Surroundings | None], Awaitable[Control]],
    holders: HolderKind,
) -> None:
    """Run what decides by this file, for holders of this kind, until Ctrl-C or SIGTERM.

    Raises BudgetError for a mistake in the file, Refusal where it cannot listen.
    """
    log_plainly()
    settings = load(path, kind)
    surroundings = surroundings_of(settings.budgets, Path(settings.state_folder))
    collect_rarely()
    try:
        asyncio.run(until_told(_run(path, settings, lambda: control_of(settings, surroundings), holders)))
    except (OSError, ValueError) as error:
        raise Refusal(f"{path}: {error}") from error


def log_plainly() -> None:
    """Lines of log for people, on stderr."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")


async def until_told(work: Coroutine[None, None, None]) -> None:
    """Work until Ctrl-C or SIGTERM, or until it ends by itself; raises what it raised."""
    stop = asyncio.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, stop.set)
    await first_of(work, _set(stop))


async def _set(stop: asyncio.Event) -> None:
    await stop.wait()
    notify(STOPPING)


async def first_of(*works: Coroutine[None, None, None]) -> None:
    """Work on all until the first ends, and end the others; raises what the first raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _run(
    path: Path, settings: GrantorSettings, control_of: Callable[[], Awaitable[Control]], holders: HolderKind
) -> None:
    folder, where = Path(settings.state_folder), settings.listen
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    control = await control_of()
    leadership = FolderLeadership(StateFolder(folder), holder(), steady_s)
    async with listening(control, where.host, where.port, settings.page, *_callers(where, holders)):
        notify(READY)
        await first_of(lead(control.grantor, leadership, steady_s), control.run(), _follow(path, control))


def holder() -> str:
    """A name that no other process bears, earlier ones on this host included."""
    return f"{socket.gethostname()}-{uuid.uuid4()}"


@asynccontextmanager
async def listening(
    control: Control, host: str, port: int, shown: PageSettings, identity: Identity, tls: ServerTls | None
) -> AsyncIterator[None]:
    """Serve its leases and its page while the block runs. Raises OSError or ValueError."""
    service = LeaseService(control.grantor, identity)
    metrics = CollectorRegistry()
    metrics.register(LeaseMetrics(control.grantor, service.refusals))
    if control.surroundings:
        metrics.register(control.surroundings.metrics())
    async with (
        serving_lease(service, identity, host, port, tls) as address,
        serving_page(control.page, shown.host, shown.port, names=shown.names, registry=metrics) as page,
    ):
        click.echo(f"leases at {address}, page at {page}. Ctrl-C ends it; what it granted then runs out.")
        yield


def recorder_of(settings: ControllerSettings) -> Recorder | None:
    """Where each tick is recorded, if it is."""
    if settings.record_folder is None:
        return None
    newest = Path(settings.record_folder) / "record.jsonl"
    return Recorder(newest, segment_bytes=SEGMENT_BYTES, segment_s=SEGMENT_S)


def _callers(listen: Listen, holders: HolderKind) -> tuple[Identity, ServerTls | None]:
    """How callers are known: by certificate, or on this machine by the secret."""
    if listen.secret_file is not None:
        return SharedSecret(Path(listen.secret_file).read_bytes().strip()), None
    files = TlsFiles(*(Path(str(name)) for name in (listen.authority, listen.certificate, listen.key)))
    return ClientCertificates(holders), ServerTls(files)


async def _follow(path: Path, control: Control) -> None:
    """Take up a change of the file; a mistake in it is told and changes nothing."""
    seen = _stamp(path)
    while True:
        await asyncio.sleep(LOOK_S)
        stamp = _stamp(path)
        if stamp == seen or stamp is None:
            continue
        seen = stamp
        try:
            control.change(load(path, type(control.settings)))
            log.info("settings taken up: %s", path)
        except WattleaseError as mistake:
            log.error("settings refused, the old ones hold: %s", mistake)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
