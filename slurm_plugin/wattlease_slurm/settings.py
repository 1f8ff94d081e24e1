"""SLURM.yaml: a controller's file, and beside it how Slurm is reached and what its words mean here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wattlease.core.api_base import Name, Part, SomeSeconds, mistake
from wattlease.runtime.controller.settings import ControllerSettings, Path
from wattlease_slurm.tables import Tables

Watts1 = Annotated[float, Field(ge=0, le=100_000)]


class Slurm(Part):
    """How Slurm is reached, and what its words mean here."""

    backend: Literal["Auto", "Commands", "Pyslurm"] = "Auto"
    """Commands: `squeue` and `scontrol`. Auto takes pyslurm where it is installed and matches this Slurm."""

    bin_folder: Path | None = None
    """Where `squeue` and `scontrol` lie; absent: on the PATH."""

    poll_seconds: SomeSeconds = 2
    """Between two looks at the queue."""

    licence: Name = "power"
    """The licence of slurm.conf's `Licenses` that counts watts."""

    reservation: Name = "wattlease"
    """The licence-only reservation that keeps from new jobs what is not theirs."""

    verdict_file: Path = "/run/wattlease/verdict"
    """What `job_submit.lua` reads."""

    rack_resource: Name | None = None
    """The hierarchical resource of resources.yaml that guards racks; absent: jobs ask for none."""

    watts_per_cpu: Watts1 = 0.0
    """Licences of a job without GPUs, for each CPU; 0 where `overhead` counts the CPUs at their worst."""

    gpu_models: dict[str, str] = Field(default_factory=dict)
    """The card model of a GRES type that is called otherwise, such as `a100_80: A100`."""

    mig_fractions: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    """What part of a card each MIG profile is, such as `1g.10gb: 0.143`, where its name does not say."""

    tables: Tables = Tables()
    """What partitions, accounts and QOS agree to, and what a job may ask for itself."""

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.rack_resource == self.licence:
            raise mistake(("rackResource",), f"'{self.licence}' is the licence; give the resource a name of its own")
        return self


class SlurmSettings(ControllerSettings):
    """A controller's settings with Slurm's."""

    slurm: Slurm = Slurm()
    """How Slurm is reached, and what its words mean here."""
