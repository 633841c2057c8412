"""Whether the input format is found: scores of the usual conventions on real models.

    python -m tools.study.conventions DIRECTORY_OF_MODELS [--input-shape 320x320]

The first table is of the example and of every model in the directory that has BatchNorm. For the
second one each of them is changed so that it expects pixels in another range, exactly, by a Mul and
an Add in front. For the third one the pictures that such a model was trained on had another
contrast and brightness than the average photograph. A pick counts as certain by the rule of
``zqc.statistics.input_convention``; otherwise zqc asks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape

from passes.graph import add_initializer
from tools.paths import DETECTOR
from zqc.cli.options import size
from zqc.errors import InputShapeError, NoBatchNormError
from zqc.model_io import model_file
from zqc.pictures.input_format import InputFormat
from zqc.pictures.model_input import picture_shape
from zqc.statistics.batchnorm import LayerStatistics, harvest
from zqc.statistics.input_convention import CONVENTIONS, DetectedFormat, detect_input_format

RANGES = {c.name: c.range for c in CONVENTIONS}
ONE_OF_EACH = [c for c in CONVENTIONS if not c.format.bgr]
TRUE_RANGES = {
    "detector": "0:1",
    "ssdlite_mnv2_person_bn": "-1:1",
    "yolov3tiny_coco_bn": "0:1",
    "ppocrv3_det_bn": "ImageNet mean and standard deviation",
}
"""What the models expect, by name of the file; others only appear in the first table."""

CONTRASTS, SHIFTS = (0.6, 0.8, 1.0, 1.25), (-0.15, 0.0, 0.15)


@dataclass(frozen=True)
class Case:
    """A model with its statistics."""

    name: str
    model: ir.Model
    layers: tuple[LayerStatistics, ...]
    picture: tuple[int, int, int]

    def detected(self) -> DetectedFormat:
        """Find its input format."""
        return detect_input_format(self.model, self.layers, self.picture)

    def expecting(
        self, wanted: InputFormat, contrast: float = 1.0, shift: float = 0.0
    ) -> DetectedFormat:
        """Find the input format of the model changed to expect another one.

        It is what training on pixels contrast·(p − 0.45) + 0.45 + shift would have given, where
        the model was trained on pixels p.
        """
        true = next(c for c in CONVENTIONS if c.range == TRUE_RANGES[self.name]).format
        channels = self.picture[0]
        (low, high), (new_low, new_high) = true.bounds(channels), wanted.bounds(channels)
        factor = (high - low) / (new_high - new_low) / contrast
        zero = ((-0.45 - shift) / contrast + 0.45) * (high - low) + low  # what pixel 0 becomes
        copy = self.model.clone()
        source = copy.graph.inputs[0]
        tape = Tape(copy.graph)
        scaled = tape.op("Mul", [source, _constant(copy, "wanted_factor", factor)])
        moved = tape.op("Add", [scaled, _constant(copy, "wanted_offset", zero - new_low * factor)])
        for node, index in list(source.uses()):
            if node is not scaled.producer():
                node.replace_input_with(index, moved)
        copy.graph.sort()
        return detect_input_format(copy, self.layers, self.picture)


@click.command()
@click.argument("models", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--input-shape", type=size, default="320x320", help="For models that leave their size open."
)
def main(models: Path, input_shape: tuple[int, int]) -> None:
    """Print the three tables."""
    cases = list(_cases([DETECTOR, *sorted(models.glob("*.onnx"))], input_shape))
    print("| model | " + " | ".join(c.name for c in CONVENTIONS) + " | picked | margin |")
    print("|---" * (len(CONVENTIONS) + 3) + "|")
    for case in cases:
        print(_row(case, case.detected()), flush=True)
    known = [case for case in cases if case.name in TRUE_RANGES]
    _changed(known)
    _trained_otherwise(known)


def _cases(paths: list[Path], input_shape: tuple[int, int]) -> Iterator[Case]:
    for path in paths:
        try:
            model = model_file.load(path).model
        except InputShapeError:
            model = model_file.load(path, input_shape=input_shape).model
        try:
            layers = harvest(model)
        except NoBatchNormError:
            continue
        yield Case(path.stem, model, layers, picture_shape(model))


def _row(case: Case, found: DetectedFormat) -> str:
    scores = dict(found.scores)
    cells = [f"{scores[c.name]:.3f}" if c.name in scores else "" for c in CONVENTIONS]
    return f"| {case.name} | " + " | ".join(cells) + f" | {_picked(found)} | {_margin(found):.1f} |"


def _changed(cases: list[Case]) -> None:
    print("\n| model, changed to | " + " | ".join(c.name for c in ONE_OF_EACH) + " |")
    print("|---" * (len(ONE_OF_EACH) + 1) + "|")
    for case in cases:
        found = [case.expecting(c.format) for c in ONE_OF_EACH]
        cells = [f"{_picked(f)} ({_margin(f):.1f})" for f in found]
        print(f"| {case.name} | " + " | ".join(cells) + " |", flush=True)


def _trained_otherwise(cases: list[Case]) -> None:
    print("\n| contrast | brightness | right | asked | wrong |\n|---|---|---|---|---|")
    for contrast, shift in itertools.product(CONTRASTS, SHIFTS):
        right = asked = wrong = 0
        for case, convention in itertools.product(cases, ONE_OF_EACH):
            found = case.expecting(convention.format, contrast, shift)
            same = RANGES[found.name] == convention.range
            right += found.certain and same
            wrong += found.certain and not same
            asked += not found.certain
        print(f"| {contrast} | {shift:+} | {right} | {asked} | {wrong} |", flush=True)


def _picked(found: DetectedFormat) -> str:
    order = "" if found.order_known else "; order open"
    return f"{found.name}{order}" if found.certain else f"asks ({found.name})"


def _margin(found: DetectedFormat) -> float:
    """How many times worse the next range is."""
    least = found.scores[0][1]
    first = RANGES[found.scores[0][0]]
    return next(score for name, score in found.scores if RANGES[name] != first) / least


def _constant(model: ir.Model, name: str, values: np.ndarray) -> ir.Value:
    return add_initializer(model.graph, name, np.asarray(values, np.float32))


if __name__ == "__main__":
    main()
