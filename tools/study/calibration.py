"""Accuracy of the example detector by bits and calibration data.

    python -m tools.study.calibration [--seeds 3] [--effort standard]

Every cell is the COCO mAP (0.50:0.95, in percent) on the 200 held-out scenes. Synthetic pictures
are made once per seed as ``zqc compile`` makes them and, like the 64 real scenes and 64 pictures of
uniform noise, handed to ``zqc compile --images``: the columns differ in nothing but the pictures.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click

import zqc
from tools.example.accuracy import cell, measure, write_noise
from tools.paths import DETECTOR, SCENES
from zqc.recipe.recipe import EFFORTS


@click.command()
@click.option(
    "--seeds", default=3, show_default=True, help="Seeds of synthetic and noise pictures."
)
@click.option("--effort", default="standard", type=click.Choice(EFFORTS), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(seeds: int, effort: str, as_json: bool) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sources = {"real": [SCENES / "training"], "synthetic": [], "noise": []}
        for seed in range(seeds):
            recipe = zqc.Recipe(seed=seed, effort=effort)
            zqc.synthesize(DETECTOR, work / f"synthetic{seed}", recipe=recipe)
            sources["synthetic"].append(work / f"synthetic{seed}" / "pictures.npz")
            sources["noise"].append(write_noise(work / f"noise{seed}.npz", seed=seed))
        float_map, rows = measure(DETECTOR, SCENES, sources)
    if as_json:
        print(json.dumps({"float": float_map, **rows}))
        return
    print(f"float: {100 * float_map:.1f} mAP; {effort} effort, {seeds} seeds\n")
    print("|      | synthetic | 64 real scenes | uniform noise |")
    print("|------|-----------|----------------|---------------|")
    for name, cells in rows.items():
        texts = [cell(cells[kind]) for kind in ("synthetic", "real", "noise")]
        print(f"| {name} | " + " | ".join(texts) + " |")


if __name__ == "__main__":
    main()
