"""Make the example detector and its labelled pictures, from nothing but packaged data.

python -m tools.example.train scenes      the labelled pictures and the cache for training
python -m tools.example.train train       the weights, within a time budget
python -m tools.example.train export      the ONNX file
python -m tools.example.train evaluate    average precision of the ONNX file
"""

from functools import partial
from pathlib import Path

import click

from tools.example import evaluation, exporting, store, training
from tools.example.scenes import load_assets
from tools.paths import DETECTOR, EXAMPLES, SCENES

FASHION = Path("/usr/share/datasets/fashion-mnist")
PHOTOGRAPHS = (Path("/usr/share/backgrounds"), Path("build/photographs"))
LABELLED = {"heldout": 200, "training": 64}
CACHED = 65536
MEASURED = 8192  # scenes behind the BatchNorm statistics

_folder = click.Path(file_okay=False, path_type=Path)
_file = click.Path(dir_okay=False, path_type=Path)
_work = click.option(
    "--work", type=_folder, default=Path("build/example"), help="Cache and checkpoint."
)
_examples = click.option("--examples", type=_folder, default=EXAMPLES, help="What is shipped.")


@click.group(context_settings={"show_default": True})
def main() -> None:
    """Make the example detector and its labelled pictures, from nothing but packaged data."""


@main.command()
@_work
@_examples
@click.option("--fashion", type=_folder, default=FASHION, help="The four files of Fashion-MNIST.")
@click.option(
    "--photographs", type=_folder, multiple=True, default=PHOTOGRAPHS, help="Search folders."
)
@click.option("--seed", default=0)
def scenes(
    work: Path, examples: Path, fashion: Path, photographs: tuple[Path, ...], seed: int
) -> None:
    """Write the labelled pictures and the cache of training scenes (7 GB)."""
    for split, count in LABELLED.items():
        assets = load_assets(split, fashion, photographs)
        store.write_labelled(assets, examples / "scenes" / split, count=count, seed=seed)
    make = partial(store.training_scene, fashion, photographs, seed)
    store.build_cache(work / "cache", make, count=CACHED, channels=3)


@main.command()
@_work
@click.option("--minutes", default=40.0, help="Time budget of the whole training.")
@click.option("--seed", default=0)
@click.option("--threads", default=2)
def train(work: Path, minutes: float, seed: int, threads: int) -> None:
    """Train, or go on from the checkpoint that an interrupted training has left."""
    settings = training.Settings(minutes=minutes, seed=seed, threads=threads)
    training.train(store.open_cache(work / "cache"), work / "checkpoint.pt", settings)


@main.command()
@_work
@_examples
@click.option("--threads", default=2)
def export(work: Path, examples: Path, threads: int) -> None:
    """Measure the BatchNorm statistics of the averaged weights and write detector.onnx."""
    model = training.averaged_model(work / "checkpoint.pt")
    cache = store.open_cache(work / "cache")
    training.measure_statistics(model, cache, count=MEASURED, threads=threads)
    exporting.export(model, examples / "detector.onnx")
    click.echo(f"wrote {examples / 'detector.onnx'}")


@main.command()
@click.option("--model", type=_file, default=DETECTOR)
@click.option("--labels", type=_file, default=SCENES / "heldout.json")
def evaluate(model: Path, labels: Path) -> None:
    """Print COCO's average precision of an ONNX detector on labelled pictures."""
    found = evaluation.evaluate(model, labels)
    for name, value in found.per_class.items():
        click.echo(f"{name:12} {value:.3f}")
    click.echo(f"mAP   {found.mean:.4f}  (IoU 0.50:0.95)\nmAP50 {found.at_50:.4f}")


if __name__ == "__main__":
    main()
