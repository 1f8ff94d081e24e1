"""Writes the custom resource definitions: `python -m wattlease.runtime.crds [--check] crds/`."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path

import click

from wattlease.runtime.crds.definition import DEFINITIONS

COMMAND = "python -m wattlease.runtime.crds"


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--check", is_flag=True, help="Write nothing; exit 1, with a diff, if a file is out of step.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("crds"))
def main(check: bool, folder: Path) -> None:
    """Write the files, or tell what in them is not in step with the models."""
    texts = {folder / f"{d.plural}.yaml": d.text() for d in DEFINITIONS}
    if check:
        _check(texts)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")


def _check(texts: dict[Path, str]) -> None:
    lines = [line for path, text in texts.items() for line in _diff(path, text)]
    if lines:
        click.echo("".join(lines), nl=False)
        folder = next(iter(texts)).parent
        raise click.ClickException(f"{folder} is not in step with the models; run {COMMAND} {folder}")


def _diff(path: Path, text: str) -> Iterator[str]:
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    return unified_diff(old.splitlines(True), text.splitlines(True), f"{path} (as it is)", f"{path} (as it should be)")


if __name__ == "__main__":
    main()
