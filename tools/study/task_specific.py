"""Task-specific pictures of the example: do they show their labels, and are they worth anything?

    python -m tools.study.task_specific [--seeds 3] [--effort standard]

1. The AP (0.50:0.95) at which the float model finds the labels in the pictures.
2. The distance of each picture to the nearest training scene or its mirror image: the root mean
   square over its pixels, in 0…1. Beside it, that of held-out scenes to the training scenes, and
   that of each training scene to the others.
3. The COCO mAP on the held-out scenes, in percent, of models calibrated with them, with pictures
   that only match statistics, with structured noise, and with the training scenes.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

import zqc
from tools.example.accuracy import cell, measure
from tools.paths import DETECTOR, SCENES
from zqc.pictures.images import SUFFIXES, read_picture
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import EFFORTS

KINDS = {
    "task-specific": {"task_specific": True},
    "synthetic": {},
    "structured noise": {"no_statistics": True},
}


@click.command()
@click.option("--seeds", default=3, show_default=True, help="Seeds of the pictures.")
@click.option("--effort", default="standard", type=click.Choice(EFFORTS), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(seeds: int, effort: str, as_json: bool) -> None:
    """Print what was found."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sources: dict[str, list[Path]] = {kind: [] for kind in KINDS}
        found, shown = [], []
        for seed in range(seeds):
            for kind, options in KINDS.items():
                place = work / f"{kind.replace(' ', '_')}{seed}"
                zqc.synthesize(
                    DETECTOR,
                    place,
                    seed=seed,
                    effort=effort,
                    input_format=InputFormat(),
                    **options,
                )
                sources[kind].append(place / "pictures.npz")
            place = work / f"task-specific{seed}"
            found.append(label_ap(place))
            shown.append(pictures(place))
            click.echo(f"seed {seed}: AP of the labels {found[-1]:.3f}", err=True)
        training, heldout = pictures(SCENES / "training"), pictures(SCENES / "heldout")
        near = {
            "task-specific to training": nearest(np.concatenate(shown), training),
            "held-out to training": nearest(heldout, training),
            "training to the others": nearest(training, training, same=True),
        }
        for name, distances in near.items():
            click.echo(f"{name}: {ends(distances)}", err=True)
        sources["64 real scenes"] = [SCENES / "training"]
        float_map, rows = measure(DETECTOR, SCENES, sources)
    if as_json:
        distances_of = {name: each.tolist() for name, each in near.items()}
        print(json.dumps({"labels": found, "nearest": distances_of, "float": float_map, **rows}))
        return
    print(f"AP of the labels: {cell(found)}; {effort} effort, {seeds} seeds\n")
    print("| distance to the nearest picture | least | median |")
    print("|---|---|---|")
    for name, distances in near.items():
        print(f"| {name} | {distances.min():.3f} | {np.median(distances):.3f} |")
    print(f"\nfloat: {100 * float_map:.1f} mAP\n")
    print("|      | " + " | ".join(sources) + " |")
    print("|------|" + "---|" * len(sources))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cell(cells[kind]) for kind in sources) + " |")


def label_ap(folder: Path) -> float:
    """The AP at which the float model finds the labels of a folder of ``zqc synthesize``."""
    checked = zqc.check(
        DETECTOR,
        DETECTOR,
        images=folder,
        labels=folder / "labels.json",
        input_format=InputFormat(),
    )
    assert checked.accuracy_float is not None
    return checked.accuracy_float.ap


def pictures(folder: Path) -> NDArray[np.float32]:
    """All pictures of a folder, which have one size, with values in 0…1, (N, H, W, 3)."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    return np.stack([read_picture(file) for file in files]).astype(np.float32) / 255


def nearest(
    these: NDArray[np.float32], others: NDArray[np.float32], *, same: bool = False
) -> NDArray[np.float64]:
    """The distance of each picture to the nearest of others, mirrored or not.

    Args:
        these: (N, H, W, 3).
        others: (M, H, W, 3).
        same: Whether both are the same pictures, none of which is its own neighbour.

    Returns:
        Root mean squares, (N,).
    """
    flat = np.concatenate([others, others[:, :, ::-1]]).reshape(2 * len(others), -1)
    found = []
    for index, one in enumerate(these):
        squares = np.square(flat - one.reshape(1, -1)).mean(axis=1, dtype=np.float64)
        if same:
            squares[[index, len(others) + index]] = np.inf
        found.append(np.sqrt(squares.min()))
    return np.array(found)


def ends(values: NDArray[np.float64]) -> str:
    """The least and the median."""
    return f"least {values.min():.3f}, median {np.median(values):.3f}"


if __name__ == "__main__":
    main()
