"""`wattlease slurm install`: look at a site's Slurm and say what is missing, or write the files that it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wattlease_slurm.checks import Finding
    from wattlease_slurm.slurm_conf import Conf

FILE = click.Path(dir_okay=False, exists=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
PATIENCE_S = 20.0


@click.command()
@click.option("--check", is_flag=True, help="Say what is missing, with the lines to add; exit code 1 if anything is.")
@click.option("--config", type=FILE, help="A slurm.conf to look at; without it slurmctld is asked.")
@click.option(
    "--to", "folder", type=FOLDER, help="Write the submit script, prolog, epilog and unit; slurm.conf's folder."
)
@click.option(
    "--resources", "settings", type=FILE, help="The daemon's YAML: print a resources.yaml that guards its racks."
)
@click.option("--licence", default="power", show_default=True, help="The licence that counts watts.")
@click.option("--verdict", help="Where the daemon leaves its verdict, if not in /run/wattlease.")
@click.option("--shadow", is_flag=True, help="Until the daemon has spoken, only log what jobs would ask for.")
def install(
    check: bool,
    config: Path | None,
    folder: Path | None,
    settings: Path | None,
    licence: str,
    verdict: str | None,
    shadow: bool,
) -> None:
    """Put Wattlease into a Slurm site, or say what is missing there."""
    if settings is not None:
        if check or folder is not None:
            raise click.UsageError("--resources prints a file and does nothing else; leave --check and --to away")
        click.echo(_resources(settings), nl=False)
        return
    if not check and folder is None:
        raise click.UsageError("give --check to look, or --to DIR to write the files; both is fine")
    if folder is not None:
        _write(folder, licence, verdict, shadow)
    if check:
        sys.exit(_check(_conf(config), licence))


def _write(folder: Path, licence: str, verdict: str | None, shadow: bool) -> None:
    from wattlease_slurm.install import install as put

    settings = {
        "LICENCE": _lua(licence) if licence != "power" else None,
        "VERDICT": _lua(verdict) if verdict else None,
        "MODE": _lua("Shadow") if shadow else None,
    }
    try:
        for told in put(folder, {name: value for name, value in settings.items() if value}):
            click.echo(told)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    unit = folder / "wattlease/wattlease-slurm.service"
    click.echo(f"then: cp {unit} /etc/systemd/system/ && systemctl enable --now wattlease-slurm")


def _resources(path: Path) -> str:
    from wattlease.runtime.files import load
    from wattlease_slurm.racks import RESOURCE, racks, resources_yaml
    from wattlease_slurm.settings import SlurmSettings

    settings = load(path, SlurmSettings)
    tree = racks(settings)
    if tree is None:
        raise click.ClickException(
            f"{path}: no budget below the root has nodes of its own, so there is no rack to guard"
        )
    name = settings.slurm.rack_resource or RESOURCE
    return resources_yaml(name, tree)


def _lua(text: str) -> str:
    if not text.isprintable() or '"' in text or "\\" in text:
        raise click.BadParameter(f"{text!r} holds what no name here may hold")
    return f'"{text}"'


def _check(conf: Conf, licence: str) -> int:
    from wattlease_slurm.checks import Grade, findings
    from wattlease_slurm.install import looked_at

    found = [*findings(conf, licence), *looked_at(conf.folder)]
    for finding in found:
        click.echo(f"{finding.grade:8} {finding.about}: {finding.told}")
    _advise(found)
    missing = sum(finding.grade == Grade.MISSING for finding in found)
    click.echo(f"\n{missing} missing" if missing else "\nnothing is missing")
    return 1 if missing else 0


def _advise(found: list[Finding]) -> None:
    for file in dict.fromkeys(finding.file for finding in found if finding.line):
        click.echo(f"\nIn {file}:")
        for line in dict.fromkeys(finding.line for finding in found if finding.line and finding.file == file):
            click.echo(f"    {line}")
    if any(finding.line and finding.file == "slurm.conf" for finding in found):
        click.echo("\nThen restart slurmctld; running jobs go on.")


def _conf(config: Path | None) -> Conf:
    from wattlease_slurm.slurm_conf import shown, written

    if config is not None:
        try:
            return written(config)
        except OSError as error:
            raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    return shown(_said("config"), _said("partition"))


def _said(what: str) -> str:
    words = ["scontrol", "show", what]
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S, check=True)
    except FileNotFoundError as error:
        raise click.ClickException("there is no scontrol here; run this on a controller or give --config") from error
    except subprocess.CalledProcessError as error:
        raise click.ClickException(f"scontrol: {error.stderr.strip()}; start slurmctld or give --config") from error
    except subprocess.TimeoutExpired as error:
        raise click.ClickException(f"scontrol did not answer within {PATIENCE_S:g} s; give --config") from error
    return done.stdout
