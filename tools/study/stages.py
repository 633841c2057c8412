"""What each stage of the quantization is worth: the ablation tables of docs/results/learning.md.

    python -m tools.study.stages [DIRECTORY_OF_MODELS DIRECTORY_OF_PICTURES] [--effort thorough]
    python -m tools.study.stages --rows 'shift=*' --bits 'W4*' --models detector

One table for the example detector and, with the two directories that ``study.models`` takes, one
for each of the shared models. The rows are the default recipe, that recipe with one stage changed,
the presets, and ``nothing``: every stage off and ranges from the smallest to the largest value. A
row that equals the default recipe is marked with ``*``; a cell with ``=`` is of the very network
that the default row has, so that its stage found nothing to do or does the same.

Cells are COCO mAP (0.50:0.95, in percent) on the labelled held-out scenes for the example, the AP
in percent of the quantized model's detections against the float model's for models whose outputs
are understood, and otherwise the SQNR in dB, of the worst part of the outputs. ``seconds`` are
those of a compilation, from pictures to report, as a mean over the row. The default row is always
made. A network that cannot be made is told on standard error, and the next one follows.

Pictures are synthesised once per model and seed, and handed to all rows; presets differ from other
rows in their stages only. They are kept under ``--work`` and used again for the same name of a
model, number, effort and seed: remove that folder when the synthesis or a model has changed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import click

import zqc
from tools.example.accuracy import PRECISIONS
from tools.study.ablation import DEFAULT, ROWS, Bench, Plan, line, plan, score
from tools.study.cases import EXAMPLE, Case, shared_cases
from zqc.recipe.recipe import EFFORTS


@click.command(context_settings={"show_default": True})
@click.argument(
    "models", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.argument(
    "pictures", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option("--samples", default=128, help="Synthetic pictures of each model and seed.")
@click.option("--effort", default="thorough", type=click.Choice(EFFORTS), help="Their steps.")
@click.option("--seeds", default=1, help="Seeds of the pictures.")
@click.option("--rows", default=("*",), multiple=True, help="Pattern of the rows that are made.")
@click.option("--bits", default="*", help="Pattern of the columns, such as W4A8.")
@click.option("--models", "names", default="*", help="Pattern of the models, such as detector.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/stages"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(
    models: Path | None,
    pictures: Path | None,
    samples: int,
    effort: str,
    seeds: int,
    rows: tuple[str, ...],
    bits: str,
    names: str,
    work: Path,
    as_json: bool,
) -> None:
    """Print the tables, row by row."""
    if models is not None and pictures is None:
        raise click.UsageError("give the directory of pictures, too")
    shared = shared_cases(models, pictures) if models and pictures else ()
    chosen = [n for n in ROWS if n == DEFAULT or any(fnmatch(n, pattern) for pattern in rows)]
    columns = [name for name in PRECISIONS if fnmatch(name, bits)]
    if not columns:
        raise click.UsageError(f"--bits {bits!r} matches none of {', '.join(PRECISIONS)}")
    work.mkdir(parents=True, exist_ok=True)
    found = {}
    if not as_json:
        print(f"{samples} synthetic pictures, {effort} effort, {seeds} seeds; {len(chosen)} rows")
    for case in (EXAMPLE, *shared):
        if not fnmatch(case.name, names):
            continue
        if not case.model.exists():
            click.echo(f"{case.model} is not there", err=True)
            continue
        wanted = [case.recipe(samples=samples, effort=effort, seed=seed) for seed in range(seeds)]
        made = {recipe.seed: _pictures(case, recipe, work) for recipe in wanted}
        found[case.name] = _study(case, plan(case.recipe(), chosen, columns), made, quiet=as_json)
    if as_json:
        print(json.dumps(found))


def _pictures(case: Case, recipe: zqc.Recipe, work: Path) -> Path:
    """The pictures that were kept, or new ones."""
    name = f"{case.name}-{recipe.samples}-{recipe.effort}-{recipe.seed}"
    kept = work / f"{name}.npz"
    if kept.exists():
        click.echo(f"{kept} is used again", err=True)
        return kept
    click.echo(f"{name}: synthesising", err=True)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        made = zqc.synthesize(case.model, Path(folder) / name, recipe=recipe)
        if made.stopped is not None:
            raise click.ClickException(made.stopped)
        (made.directory / "pictures.npz").replace(kept)
    click.echo(f"{name}: {made.seconds / 60:.1f} min", err=True)
    return kept


def _study(case: Case, table: Plan, pictures: Mapping[int, Path], *, quiet: bool) -> dict:
    """Print the table of a model unless ``quiet``, and return what stands in it."""
    checked = case.check(case.model)
    _, unit = score(checked)
    accuracy = None if checked.accuracy_float is None else 100 * checked.accuracy_float.ap
    networks = len({recipe for row in table.values() for recipe in row.values()}) * len(pictures)
    click.echo(f"{case.name}: {len(table)} rows, {networks} networks", err=True)
    if not quiet:
        reached = "" if accuracy is None else f"; float {accuracy:.1f}"
        print(f"\n**{case.name}**: {unit}{reached}\n")
        print(f"| recipe | {' | '.join(table[DEFAULT])} | seconds |")
        print("|---" * (len(table[DEFAULT]) + 2) + "|")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(case, pictures, Path(folder), networks)
        for name, recipes in table.items():
            row = {bits: bench.row(name, recipe) for bits, recipe in recipes.items()}
            found[name] = row
            equal = all(recipe == table[DEFAULT][bits] for bits, recipe in recipes.items())
            if not quiet:
                mark = " *" if equal and name != DEFAULT else ""
                print(line(name + mark, row, found[DEFAULT]), flush=True)
    values = {
        name: {bits: [cell and cell.value for cell in cells] for bits, cells in row.items()}
        for name, row in found.items()
    }
    return {"unit": unit, "float": accuracy, "rows": values}


if __name__ == "__main__":
    main()
