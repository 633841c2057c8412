"""Builds, trains and exports the networks of the zoo.

python -m tools.zoo.build [NAME ...] [--minutes M] [--size N] [--export WAY ...] [--folder DIR]

All networks by default, each in a process of its own in the environment ``build/zoo/environment``,
which is made on first use (2 GB with the CPU build of PyTorch). Nothing else is downloaded: weights
are random, and trained and calibrated on the scenes of the example for some minutes. Files that are
there already are kept; ``--minutes 0`` only measures the BatchNorm statistics.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import click

from tools.compare.peers.environment import Environment
from tools.paths import ROOT
from tools.zoo.environment import FOLDER, REQUIREMENTS, SECONDS, VARIABLES
from tools.zoo.exports import EXPORTS
from tools.zoo.registry import NETWORKS


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(NETWORKS)))
@click.option("--minutes", default=3.0, show_default=True, help="Of training, each.")
@click.option("--export", "ways", multiple=True, type=click.Choice(sorted(EXPORTS)))
@click.option("--size", type=int, help="Height and width of the pictures; each its own by default.")
@click.option("--seed", default=0, show_default=True)
@click.option("--limit", default=30.0, show_default=True, help="Minutes for one network.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER / "models",
    show_default=True,
    help="Where they go.",
)
@click.option(
    "--environment",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER / "environment",
    show_default=True,
    help="Where their packages are.",
)
def main(
    names: tuple[str, ...],
    minutes: float,
    ways: tuple[str, ...],
    size: int | None,
    seed: int,
    limit: float,
    folder: Path,
    environment: Path,
) -> None:
    """Build the networks NAMES, or all."""
    packages = Environment(environment, REQUIREMENTS, SECONDS)
    packages.ensure()
    for name in names or NETWORKS:
        wanted = [way for way in ways or EXPORTS if not (folder / f"{name}.{way}.onnx").exists()]
        if not wanted:
            continue
        given = [f"--minutes={minutes}", f"--seed={seed}", *(f"--export={way}" for way in wanted)]
        given += [f"--size={size}"] if size else []
        command = [str(packages.python), "-m", "tools.zoo.builder", name, str(folder.absolute())]
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.log").open("w") as log:
            message = _run([*command, *given], 60 * (limit + minutes), log.fileno())
        for way in wanted:
            click.echo(f"{name:20} {way:14} {message or _result(folder, name, way)}")


def _run(command: list[str], seconds: float, log: int) -> str:
    """Run the builder, and return what is wrong with it."""
    variables = {**os.environ, **VARIABLES, "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=variables, stdout=log, stderr=log, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"took more than {seconds / 60:.0f} minutes"
    return f"failed with code {done.returncode}; see its log" if done.returncode else ""


def _result(folder: Path, name: str, way: str) -> str:
    found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))[way]
    return found if isinstance(found, str) else f"{found} s"


if __name__ == "__main__":
    main()
