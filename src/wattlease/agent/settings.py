"""What the agent is told: one file, read once; what is not written there stands here with its reason."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from wattlease.agent import hints
from wattlease.agent.bounded import PATIENCE_S
from wattlease.agent.enforce import Overhead as Beside
from wattlease.agent.jobs import mapping, slurm
from wattlease.agent.node_power import rapl
from wattlease.agent.node_power.redfish_settings import RedfishSettings
from wattlease.core.api_base import Part, mistake
from wattlease.runtime.lease.identity import NAME
from wattlease.runtime.site_words import Overhead, SomePower
from wattlease.runtime.web_guard import is_loopback

KUBELET_SOCKET = Path("/var/lib/kubelet/pod-resources/kubelet.sock")


class VirtualCards(Part):
    """Virtual GPUs to make where their file is missing."""

    model: str = "H100"
    """A model of the library."""

    count: Annotated[int, Field(ge=1, le=64)] = 8
    """How many."""

    @field_validator("model")
    @classmethod
    def _known(cls, model: str) -> str:
        from wattlease.core.gpu_models import GPU_MODELS  # with it comes numpy, which a node of real GPUs does not need

        if model not in GPU_MODELS:
            raise ValueError(f"{model!r} is no GPU of the library; write one of {', '.join(GPU_MODELS)}")
        return model


class JobSources(Part):
    """Where it is told which job holds which GPU. A source that is not written down is asked where it is found."""

    kubelet_socket: Path | None = None
    """The kubelet's pod-resources socket; absent: the usual one, if it is there."""

    mapping_folder: Path | None = None
    """The folder that the prolog or dcgm-exporter's setup writes; absent: the usual one, if it is there."""

    cgroup_root: Path = slurm.CGROUP
    """Control groups, for Slurm jobs whose environments may be read."""

    proc_root: Path = slurm.PROC
    """Processes; another folder than /proc where the host's is mounted into a container."""

    every_seconds: Annotated[float, Field(ge=0.2, le=60)] = 2.0
    """How often the sources are asked; jobs come and go in seconds, and a kubelet has better to do."""

    def kubelet(self) -> Path | None:
        """The socket to ask, `None` where this node has no kubelet."""
        return self.kubelet_socket or (KUBELET_SOCKET if KUBELET_SOCKET.exists() else None)

    def mapping(self) -> Path | None:
        """The folder to read, `None` where no prolog writes one."""
        return self.mapping_folder or (mapping.FOLDER if mapping.FOLDER.is_dir() else None)


class AgentSettings(Part):
    """One node's agent."""

    node: Annotated[str, Field(pattern=f"^{NAME.pattern}$")] = Field(default_factory=lambda: socket.gethostname())
    """The node's name, as in its certificate or token; absent: the host's."""

    backend: Literal["nvml", "virtual"] = "nvml"
    """Real GPUs, or virtual ones for demos and trials."""

    virtual_gpus: Path | None = None
    """The file of virtual GPUs; for backend virtual."""

    virtual_cards: VirtualCards | None = None
    """What to put into that file where it is missing."""

    grantors: Annotated[tuple[str, ...], Field(min_length=1, max_length=8)]
    """Addresses such as https://slurm1:8943, of every grantor that may lead."""

    authority: Path | None = None
    """Who vouches for the grantors; absent: the system's authorities."""

    certificate: Path | None = None
    """The node's certificate, with `key`."""

    key: Path | None = None
    """The key of the node's certificate."""

    token_file: Path | None = None
    """The pod's bound service-account token, in Kubernetes; in place of a certificate."""

    secret_file: Path | None = None
    """The secret of a demo, over http on this machine only."""

    state_folder: Path = Path("/var/lib/wattlease")
    """Original limits, the fallback and the lock: it outlives restarts, upgrades and boots."""

    fallback_watts: SomePower | None = None
    """What the node may draw without a grant, until a grantor says otherwise; absent: every card at its least limit."""

    nameplate_watts: SomePower | None = None
    """Reported as in force while the driver has not yet told the cards; absent: nothing is reported until it has."""

    overhead: Overhead = Overhead()
    """The node's draw beyond its GPUs."""

    jobs: JobSources = JobSources()
    """Where it is told which job holds which GPU."""

    hints_folder: Path = hints.ROOT
    """Where jobs find their hints."""

    redfish: RedfishSettings | None = None
    """The node's board controller; absent: not asked."""

    rapl_folder: Path = rapl.ROOT
    """The kernel's energy counters."""

    listen: str | None = "127.0.0.1:8945"
    """Address and port of metrics and health, open to whoever reaches it; null: none."""

    guard_seconds: Annotated[float, Field(ge=0.05, le=5)] = 0.5
    """How often draws are looked at. Energy counters tell the exact mean of the guard's second however often they are
    read; write 0.1 to 0.2 for cards without them, where the mean is that of the draws seen."""

    look_seconds: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    """How often every card is read in full and what others moved is put right."""

    renew_seconds: Annotated[float, Field(ge=0.1, le=5)] = 1.0
    """How often the grant is renewed; a grant lasts ten of these."""

    patience_seconds: Annotated[float, Field(ge=0.02, le=2)] = PATIENCE_S
    """How long a driver's call may take before the others stop waiting for it."""

    @field_validator("grantors")
    @classmethod
    def _addresses(cls, grantors: tuple[str, ...]) -> tuple[str, ...]:
        for address in grantors:
            parts = urlsplit(address)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
                raise ValueError(f"{address!r} is no grantor's address; write one such as https://slurm1:8943")
        return grantors

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, listen: str | None) -> str | None:
        host, _, port = (listen or "localhost:0").rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{listen!r} is no address to listen on; write one such as 127.0.0.1:8945")
        return listen

    @model_validator(mode="after")
    def _cards_are_somewhere(self) -> Self:
        if self.backend == "virtual" and self.virtual_gpus is None:
            raise mistake(("virtualGpus",), "is missing; write the path of the file that holds the virtual GPUs")
        if self.backend == "nvml" and self.virtual_gpus is not None:
            raise mistake(("virtualGpus",), "is for virtual GPUs; write backend: virtual, or take it out")
        return self

    @model_validator(mode="after")
    def _known_in_one_way(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise mistake(("certificate",), "and key go together; write both")
        ways = (self.certificate, self.token_file, self.secret_file)
        if sum(way is not None for way in ways) != 1:
            raise mistake(("grantors",), "ask who calls; write certificate and key, or tokenFile, or secretFile")
        for number, address in enumerate(self.grantors):
            here = is_loopback(urlsplit(address).hostname or "")
            if self.secret_file and not here:
                raise mistake(("grantors", number), f"{address!r}: secretFile is for this machine only")
            if not self.secret_file and urlsplit(address).scheme != "https":
                raise mistake(("grantors", number), f"{address!r} is not protected; write https")
        return self

    @property
    def beside(self) -> Beside:
        """The overhead in watts and as a fraction."""
        return Beside(self.overhead.floor_watts, self.overhead.per_it_percent / 100.0)
