"""What the terms of the loss of training are worth, by the pictures that it is trained on.

    python -m tools.study.qat MODELS PICTURES [--detectors detector] [--precision W4A4]
        [--sources noise,batchnorm,task,real] [--rows …] [--seeds 0] [--effort standard]
        [--jobs 4 | --dask ADDRESS] [--threads 1]

MODELS and PICTURES are as in ``tools.study.models``. Sources of the pictures that a network is
calibrated with and trained on:

- ``noise``: structured noise alone;
- ``batchnorm``: synthesised from the statistics, and noise beside them, as by default;
- ``task``: ``--task-specific``, synthesised with the detector's own loss, too, with labels;
- ``real``: the scenes of the example's training, or every fourth picture of the others;
- ``labels``: the same scenes with their labels, for the example alone.

So ``batchnorm`` against ``task`` is the paper's comparison without and with the detector's loss in
the synthesis, and rows with ``detection`` against those without are that of the training. Where
pictures have no labels, those are what the float model finds.

A cell is the mAP on the held-out scenes for the example, AP (0.50:0.95) and AP50 of the detections
against those of the float model, in percent, or the SQNR; and the seconds of a compilation.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click

from tools.paths import SCENES
from tools.study.calibration_sources import real_pictures
from tools.study.cases import Case, chooses_cases
from tools.study.learning import bits_of, cell, scores
from zqc.errors import ZqcError
from zqc.recipe.recipe import EFFORTS

SOURCES = ("noise", "batchnorm", "task", "real", "labels")

Fields = Mapping[str, Any]
"""Fields of the recipe."""


def _learned(*, ema: bool = False, **weights: float) -> Fields:
    return {"rounding": "learned", "loss_weights": weights, "ema": ema}


ROWS: Mapping[str, Fields] = {
    "not trained": {"rounding": "compensated"},
    "heads alone": _learned(features=0, agreement=0, heads=1),
    "features alone": _learned(agreement=0),
    "features and agreement (default)": _learned(),
    "and heads": _learned(heads=0.3),
    "and detection": _learned(detection=0.1),
    "and both": _learned(heads=0.3, detection=0.1),
    "features and detection": _learned(agreement=0, detection=0.1),
    "default, dampened": _learned(dampening=0.1),
    "default, EMA": _learned(ema=True),
}


@click.command(context_settings={"show_default": True})
@chooses_cases("detector")
@click.option("--precision", default="W4A4", help="Bits of weights and activations.")
@click.option("--sources", default=",".join(SOURCES[:4]), help="Those to compare.")
@click.option("--rows", default=";".join(ROWS), help="Those to make, with ; between them.")
@click.option("--effort", default="standard", type=click.Choice(EFFORTS))
@click.option("--pictures-seen", type=int, help="As the option of zqc tune.")
@click.option("--seeds", default="0", help="Those of each cell.")
@click.option("--jobs", default=1, help="Cells at once, each in a process of its own.")
@click.option("--dask", metavar="ADDRESS", help="Let the workers of this Dask scheduler do them.")
@click.option("--threads", type=int, help="Of ONNX Runtime; all cores by default.")
def main(
    cases: Sequence[Case],
    precision: str,
    sources: str,
    rows: str,
    effort: str,
    pictures_seen: int | None,
    seeds: str,
    jobs: int,
    dask: str | None,
    threads: int | None,
) -> None:
    """Print one table per detector."""
    from joblib import Parallel, delayed

    asked, numbers, chosen = sources.split(","), list(map(int, seeds.split(","))), rows.split(";")
    if unknown := [name for name in chosen if name not in ROWS]:
        raise click.UsageError(f"no row is called {unknown[0]!r}; there are {'; '.join(ROWS)}")
    base = {**bits_of(precision), "effort": effort, "pictures_seen": pictures_seen}
    for case in cases:
        print(f"\n**{case.name}, {precision}, {effort}**\n\n| | {' | '.join(asked)} |")
        print("|---|" + "---|" * len(asked))
        work = (
            delayed(measured)(case, source, base | ROWS[row], numbers, threads)
            for row in chosen
            for source in asked
        )
        with workers(dask):
            found = Parallel(jobs, return_as="generator")(work)
            for row in chosen:
                cells = [cell(each) for each in islice(found, len(asked))]
                print(f"| {row} | {' | '.join(cells)} |", flush=True)


@contextmanager
def workers(dask: str | None) -> Iterator[None]:
    """Let the workers of a Dask scheduler do what joblib is asked for, where there is an address.

    They need this repository, and see its files where they are here.
    """
    if dask is None:
        yield
        return
    from distributed import Client
    from joblib import parallel_config

    with Client(dask), parallel_config("dask"):
        yield


def measured(
    case: Case, source: str, fields: Fields, seeds: list[int], threads: int | None
) -> list[dict[str, float]]:
    """What comes out with each seed, and its seconds; nothing where it cannot be."""
    found = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder, calibration(case, source) as (more, given):
            output, started = Path(folder) / "out.onnx", time.perf_counter()
            recipe = case.recipe(seed=seed, **fields, **more)
            try:
                case.compile(output, recipe, threads=threads, **given)
            except ZqcError as error:
                click.echo(f"{case.name}, {source}: {error}", err=True)
                return []
            found.append({"seconds": time.perf_counter() - started, **scores(case, output)})
    return found


@contextmanager
def calibration(case: Case, source: str) -> Iterator[tuple[Fields, dict[str, Any]]]:
    """Fields of the recipe, and arguments of ``zqc.compile``, that make a source of pictures."""
    with tempfile.TemporaryDirectory() as folder:
        if source in ("batchnorm", "task"):
            yield {"task_specific": source == "task"}, {}
        elif source == "noise":
            yield {}, {"no_statistics": True}
        else:
            given: dict[str, Any] = {"images": real_pictures(case, Path(folder) / "real")}
            if source == "labels":
                given["labels"] = SCENES / "training.json"
            yield {}, given


if __name__ == "__main__":
    main()
