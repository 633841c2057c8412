"""The yardstick of docs/results/calibration.md: what pictures are worth, by detector and bits.

    python -m tools.study.calibration_sources MODELS PICTURES [--zoo FOLDER] [--seeds 0,1,2]
        [--sources 'quick,noise'] [--kept FILE]

MODELS and PICTURES are as in ``tools.study.models``; what is not there is skipped. FOLDER holds
networks that ``tools.zoo.build --export torchscript`` has trained. Sources:

- ``uniform``: 64 pictures of uniform noise, for the example alone, whose size they have;
- ``noise``: structured noise, ``--no-statistics``;
- ``quick``, ``standard``, ``thorough``: that effort;
- ``task``: ``--task-specific`` of standard effort, where the detector's loss is known;
- ``real``: the scenes of the example's training, for the example and the zoo, and every fourth
  picture of the others.

Every cell is the AP (0.50:0.95, in percent) of the detections against those of the float model, or
the SQNR of the least part where no detections are known: mean and range over the seeds, with the
mean AP50, the mean mAP where labels are known, and the mean seconds, of making the pictures and of
the rest. The pictures are made once for all precisions; the calibration set is that of
``zqc compile``, and so are the bytes.

What was measured goes to ``--kept`` line by line, and is not measured again where it stands there.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np

import zqc
from tools.example.accuracy import PRECISIONS, spread, write_noise
from tools.paths import SCENES
from tools.study.cases import EXAMPLE, Case, chooses_cases
from zqc.commands.inputs import noise
from zqc.errors import ZqcError
from zqc.pictures.images import write_tensors
from zqc.recipe.recipe import EFFORTS

SOURCES = ("uniform", "noise", *EFFORTS, "task", "real")

Measured = dict[str, float]
"""``ap``, ``ap50`` and perhaps ``map`` in percent, or ``sqnr`` in dB; seconds of making the
``pictures`` and of the ``rest`` of the compilation."""


@click.command(context_settings={"show_default": True})
@chooses_cases()
@click.option("--seeds", default="0,1,2", help="Those of each cell.")
@click.option("--sources", default=",".join(SOURCES), help="Those to compare.")
@click.option("--precisions", default=",".join(PRECISIONS), help="Those to compare them at.")
@click.option("--kept", type=click.Path(path_type=Path, dir_okay=False), help="What is known.")
@click.option("--uniform-bits", is_flag=True, help="As the option of zqc compile.")
@click.option("--threads", type=int, help="Of ONNX Runtime; all cores by default.")
def main(
    cases: Sequence[Case],
    seeds: str,
    sources: str,
    precisions: str,
    kept: Path | None,
    uniform_bits: bool,
    threads: int | None,
) -> None:
    """Print one row per detector and precision."""
    study = Study(kept, threads, uniform_bits)
    asked = sources.split(",")
    numbers = [int(seed) for seed in seeds.split(",")]
    print("| detector | bits | " + " | ".join(asked) + " |")
    print("|---|---|" + "---|" * len(asked))
    for case in cases:
        found = {
            source: study.measured(case, source, numbers, precisions.split(",")) for source in asked
        }
        for precision in precisions.split(","):
            cells = [_cell([row[precision] for row in found[source]]) for source in asked]
            print(f"| {case.name} | {precision} | " + " | ".join(cells) + " |", flush=True)


class Study:
    """Measures what is not known yet.

    Args:
        kept: Where measurements are read from and added to; None for nowhere.
        threads: Threads of ONNX Runtime.
        uniform: Whether all layers have the same bits.
    """

    def __init__(self, kept: Path | None, threads: int | None, uniform: bool) -> None:
        self._kept, self._threads, self._uniform = kept, threads, uniform
        lines = kept.read_text("utf-8").splitlines() if kept and kept.exists() else []
        self._known: dict[str, Measured] = {}
        for line in lines:
            self._known |= json.loads(line)

    def measured(
        self, case: Case, source: str, seeds: list[int], precisions: list[str]
    ) -> list[dict[str, Measured]]:
        """By seed and precision; nothing where a detector cannot have this source."""
        if source == "uniform" and case is not EXAMPLE:
            return []
        found = []
        for seed in seeds[:1] if source == "real" else seeds:
            kind = " uniform" if self._uniform else ""
            keys = {each: f"{case.name} {each} {source} {seed}{kind}" for each in precisions}
            missing = [precision for precision, key in keys.items() if key not in self._known]
            try:
                for precision, one in self._measure(case, source, seed, missing):
                    self._keep(keys[precision], one)
            except ZqcError as error:
                click.echo(f"{case.name} {source}: {error}", err=True)
                return []
            found.append({precision: self._known[key] for precision, key in keys.items()})
        return found

    def _keep(self, key: str, one: Measured) -> None:
        self._known[key] = one
        click.echo(f"{key}: {one}", err=True)
        if self._kept is not None:
            with self._kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps({key: one}) + "\n")

    def _measure(
        self, case: Case, source: str, seed: int, precisions: list[str]
    ) -> Iterator[tuple[str, Measured]]:
        if not precisions:
            return
        with calibration_set(case, source, seed, self._threads) as (images, making):
            for precision in precisions:
                bits, act_bits = PRECISIONS[precision]
                recipe = case.recipe(
                    bits=bits, act_bits=act_bits, seed=seed, uniform_bits=self._uniform
                )
                output = images.parent / "out.onnx"
                started = time.perf_counter()
                case.compile(output, recipe, images=images, threads=self._threads)
                took = {"pictures": making, "rest": round(time.perf_counter() - started, 1)}
                checked = case.check(output)
                if checked.agreement is None:
                    value = {"sqnr": min(part.sqnr_db for part in checked.parts)}
                else:
                    value = {"ap": 100 * checked.agreement.ap, "ap50": 100 * checked.agreement.ap50}
                if checked.accuracy_quantized is not None:
                    value["map"] = 100 * checked.accuracy_quantized.ap
                yield precision, value | took


@contextmanager
def calibration_set(
    case: Case, source: str, seed: int, threads: int | None
) -> Iterator[tuple[Path, float]]:
    """The pictures to calibrate with, and the seconds of making them."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        started = time.perf_counter()
        if source == "real":
            made = real_pictures(case, work / "real")
        elif source == "uniform":
            made = write_noise(work / "uniform.npz", seed=seed)
        else:
            made = _synthesised(case, source, seed, work, threads)
        yield made, round(time.perf_counter() - started, 1)


def real_pictures(case: Case, folder: Path) -> Path:
    """Links in a folder to the real pictures that a detector is calibrated with."""
    of_scenes = case.pictures.is_relative_to(SCENES)
    files = sorted((SCENES / "training" if of_scenes else case.pictures).iterdir())
    folder.mkdir()
    for path in files if of_scenes else files[::4]:
        (folder / path.name).symlink_to(path.resolve())
    return folder


def _synthesised(case: Case, source: str, seed: int, work: Path, threads: int | None) -> Path:
    """What ``zqc compile`` calibrates with: synthesised pictures, and noise beside most of them."""
    effort = source if source in EFFORTS else "standard"
    recipe = case.recipe(seed=seed, effort=effort, task_specific=source == "task")
    folder = work / "made"
    zqc.synthesize(
        case.model, folder, recipe=recipe, no_statistics=source == "noise", threads=threads
    )
    made = folder / "pictures.npz"
    if source not in EFFORTS:
        return made
    with np.load(made) as content:
        tensors = content["images"]
    free = noise(tensors.shape[1:], recipe, case.input_format)
    both = work / "both.npz"
    write_tensors(both, np.concatenate([tensors, free]), synthesised=True, noise=len(free))
    return both


def _cell(found: list[Measured]) -> str:
    if not found:
        return "–"
    seconds = " + ".join(
        f"{np.mean([one[part] for one in found]):.0f}" for part in ("pictures", "rest")
    )
    if "sqnr" in found[0]:
        return f"{spread([one['sqnr'] for one in found])} dB, {seconds} s"
    means = [
        f"{name} {np.mean([one[key] for one in found]):.1f}"
        for key, name in (("ap50", "AP50"), ("map", "mAP"))
        if key in found[0]
    ]
    return f"{spread([one['ap'] for one in found])}, {', '.join(means)}, {seconds} s"


if __name__ == "__main__":
    main()
