"""Builds, trains and exports one network, in the environment that has its package.

python -m tools.zoo.builder NAME FOLDER [--minutes M] [--size N] [--export WAY ...]

``tools.zoo.build`` starts it. The weights are kept in ``FOLDER/NAME.pt``: with them there, only
the exports are made again. ``FOLDER/NAME.json`` has one entry for each way of exporting: the number
of seconds that it took or the message of its failure.
"""

from __future__ import annotations

import copy
import json
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import torch
from torch import nn

from tools.paths import SCENES
from tools.zoo import calibration, exports, pictures, training
from tools.zoo.network import Network
from tools.zoo.registry import NETWORKS

BATCH = 8


@click.command()
@click.argument("name", type=click.Choice(sorted(NETWORKS)))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--minutes", default=3.0, show_default=True, help="Of training; 0 only calibrates.")
@click.option("--export", "ways", multiple=True, type=click.Choice(sorted(exports.EXPORTS)))
@click.option("--size", type=int, help="Height and width of the pictures.")
@click.option("--seed", default=0, show_default=True)
def main(
    name: str, folder: Path, minutes: float, ways: tuple[str, ...], size: int | None, seed: int
) -> None:
    """Build the network NAME and write its files to FOLDER."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    network = NETWORKS[name]
    network = replace(network, size=size or network.size)
    folder.mkdir(parents=True, exist_ok=True)
    scenes = pictures.load(SCENES / "training")
    model = network.build()
    weights = folder / f"{name}.pt"
    if weights.exists():
        model.load_state_dict(torch.load(weights))
    else:
        _prepare(network, model, scenes, minutes=minutes, seed=seed)
        torch.save(model.state_dict(), weights)
    example, _ = pictures.batch(scenes, [0], network)
    report = folder / f"{name}.json"
    results = json.loads(report.read_text()) if report.exists() else {}
    for way in ways or exports.EXPORTS:
        results[way] = _export(network, model, way, folder / f"{name}.{way}.onnx", example)
        report.write_text(json.dumps(results, indent=1) + "\n")
        click.echo(f"{name} {way}: {results[way]}")


def _prepare(
    network: Network, model: nn.Module, scenes: pictures.Scenes, *, minutes: float, seed: int
) -> None:
    """Measure statistics, and train between two measurements if there is a loss and the time."""
    module = network.deploy(model)
    trained = network.loss is not None and minutes > 0
    if not trained:
        click.echo(f"{network.name}: {calibration.calm(model)} norms shifted")
    indices = range(len(scenes.boxes))
    parts = [list(indices[start : start + BATCH]) for start in range(0, len(indices), BATCH)]
    runs = [partial(_run, network, module, scenes, part) for part in parts]
    calibration.measure_statistics(model, iter(runs))
    if trained:
        training.train(network, model, scenes, minutes=minutes, seed=seed)
        model.eval()
    else:
        model.eval()
        scaled = calibration.strengthen(model, runs[0])
        click.echo(f"{network.name}: {scaled} layers made stronger")
    calibration.measure_statistics(model, iter(runs))


def _run(network: Network, module: nn.Module, scenes: pictures.Scenes, part: list[int]) -> None:
    module(pictures.batch(scenes, part, network)[0])


def _export(
    network: Network, model: nn.Module, way: str, path: Path, example: torch.Tensor
) -> str | float:
    start = time.monotonic()
    path.unlink(missing_ok=True)
    try:
        exports.write(network, copy.deepcopy(model), way, path, example)
    except Exception as error:  # whatever a package raises is the result of this export
        while error.__cause__ is not None:  # the exporter's own advice is long
            error = error.__cause__
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"{type(error).__name__}: {' '.join(lines)[:300]}"
    return round(time.monotonic() - start, 1)


if __name__ == "__main__":
    main()
