"""Zero-shot calibration in the infrared: the table of docs/results/calibration.md.

    python -m tools.study.infrared [--minutes 8] [--seeds 1] [--samples 64] [--effort standard]

The question is that of arXiv 2408.13925: does what a detector's BatchNorm statistics say of the
pictures suffice for one that was fine-tuned on thermal pictures, and which of the statistics does
it take? The example detector is fine-tuned on the thermal twins of its scenes (``example.thermal``)
unless ``--model`` names one, and both are calibrated with pictures from the means alone, the
standard deviations alone and both, with 64 real scenes of their domain, with 64 of the other one
(the data that may be at hand when no thermal pictures are) and with uniform noise.
Every cell is the COCO mAP (0.50:0.95, in percent) on the 200 held-out scenes of the domain.
Pictures of the thermal domain have one channel that is fed three times; "tied" synthetic ones keep
to that, and so does their noise.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import click

import zqc
from tools.example import thermal, thermal_model
from tools.example.accuracy import cell, compare, measure, write_noise
from tools.example.scenes import load_objects
from tools.example.train import FASHION, LABELLED
from tools.paths import DETECTOR, SCENES
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import EFFORTS, Effort, Recipe

SYNTHETIC = {
    "both": {"bn_terms": "both"},
    "mean": {"bn_terms": "mean"},
    "std": {"bn_terms": "std"},
    "tied": {"tie_channels": True},
}
COLUMNS = {
    "real": "64 real scenes",
    "both": "synthetic",
    "mean": "means only",
    "std": "deviations only",
    "tied": "synthetic, tied",
    "other": "64 scenes of the other domain",
    "noise": "uniform noise",
}


@click.command(context_settings={"show_default": True})
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="A thermal detector.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/infrared"))
@click.option(
    "--fashion", type=click.Path(path_type=Path), default=FASHION, help="Files of Fashion-MNIST."
)
@click.option("--minutes", default=8.0, help="Time budget of the fine-tuning.")
@click.option("--threads", default=2, help="Threads of the fine-tuning.")
@click.option("--seeds", default=1, help="Seeds of synthetic and noise pictures.")
@click.option("--samples", default=64, help="Synthetic pictures of each kind and seed.")
@click.option("--effort", default="standard", type=click.Choice(EFFORTS), help="Steps of each.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(
    model: Path | None,
    work: Path,
    fashion: Path,
    minutes: float,
    threads: int,
    seeds: int,
    samples: int,
    effort: Effort,
    as_json: bool,
) -> None:
    """Print the table."""
    base = Recipe(effort=effort, samples=samples, input_format=InputFormat())
    recipes = [replace(base, seed=seed) for seed in range(seeds)]
    for split, count in LABELLED.items():
        objects = load_objects(split, fashion)
        thermal.write_labelled(objects, work / "scenes" / split, count=count, seed=0)
    model = model or thermal_model.fine_tune(
        DETECTOR, work, fashion, minutes=minutes, threads=threads
    )
    before, _ = compare(DETECTOR, model, work / "scenes")
    folders = SCENES, work / "scenes"
    found = {
        "visible": _study(DETECTOR, *folders, recipes, grey=False),
        "thermal": _study(model, *reversed(folders), recipes, grey=True),
    }
    if as_json:
        print(json.dumps({"visible model on thermal scenes": before, **found}))
        return
    print(f"{samples} synthetic pictures, {effort} effort, {seeds} seeds; before it is fine-tuned")
    print(f"the visible-light model reaches {100 * before:.1f} mAP on the thermal scenes\n")
    print("| model | bits | float | " + " | ".join(COLUMNS.values()) + " |")
    print("|---|---|---" + "|---" * len(COLUMNS) + "|")
    for domain, (accuracy, rows) in found.items():
        for name, row in rows.items():
            cells = [cell(row[kind]) if kind in row else "–" for kind in COLUMNS]
            print(f"| {domain} | {name} | {100 * accuracy:.1f} | " + " | ".join(cells) + " |")


def _study(
    model: Path, scenes: Path, others: Path, recipes: list[Recipe], *, grey: bool
) -> tuple[float, dict[str, dict[str, list[float]]]]:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sources = {kind: [] for kind in COLUMNS if grey or kind != "tied"}
        sources["real"].append(scenes / "training")
        sources["other"].append(others / "training")
        for recipe in recipes:
            seed = recipe.seed
            for kind in (name for name in sources if name in SYNTHETIC):
                click.echo(f"{model}: {COLUMNS[kind]}, seed {seed}", err=True)
                target = work / f"{kind}{seed}"
                zqc.synthesize(model, target, recipe=replace(recipe, **SYNTHETIC[kind]))
                sources[kind].append(target / "pictures.npz")
            noise = work / f"noise{seed}.npz"
            sources["noise"].append(write_noise(noise, seed=seed, channels=1 if grey else 3))
        return measure(model, scenes, sources)


if __name__ == "__main__":
    main()
