"""Detectors that studies compare with their float models, each with the options that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

import zqc
from tools.paths import DETECTOR, SCENES

_IMAGENET = zqc.InputFormat.from_mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), bgr=True)


@dataclass(frozen=True)
class Case:
    """A float model, and the real pictures that it is compared on."""

    model: Path
    pictures: Path
    input_format: zqc.InputFormat
    input_shape: tuple[int, int] | None = None
    anchors: Path | None = None
    labels: Path | None = None

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.model.stem

    def recipe(self, **options: object) -> zqc.Recipe:
        """Return a recipe with what the model needs."""
        return zqc.Recipe(input_format=self.input_format, input_shape=self.input_shape, **options)

    def compile(
        self, output: Path, recipe: zqc.Recipe, *, threads: int | None, **given: Any
    ) -> zqc.CompileResult:
        """Quantize the model, whose anchors are known, with these arguments of ``zqc.compile``."""
        return zqc.compile(
            self.model, output, recipe=recipe, anchors=self.anchors, threads=threads, **given
        )

    def check(self, quantized: Path) -> zqc.CheckResult:
        """Compare a quantized model with the float one."""
        return zqc.check(
            self.model,
            quantized,
            images=self.pictures,
            labels=self.labels,
            anchors=self.anchors,
            input_format=self.input_format,
            input_shape=self.input_shape,
        )


EXAMPLE = Case(
    DETECTOR,
    SCENES / "heldout",
    zqc.InputFormat(),
    labels=SCENES / "heldout.json",
)


def shared_cases(models: Path, pictures: Path) -> tuple[Case, ...]:
    """The shared models in a folder, with the pictures in ``street`` and ``text`` of another one.

    They need not exist.
    """
    return (
        Case(
            models / "ssdlite_mnv2_person_bn.onnx",
            pictures / "street",
            zqc.InputFormat.from_range(-1, 1),
            anchors=models / "ssdlite_mnv2_person_anchors.npy",
        ),
        Case(models / "yolov3tiny_coco_bn.onnx", pictures / "street", zqc.InputFormat()),
        Case(models / "ppocrv3_det_bn.onnx", pictures / "text", _IMAGENET, (320, 320)),
    )


def zoo_cases(folder: Path) -> Iterator[Case]:
    """The networks that ``tools.zoo.build --export torchscript`` has trained, compared on scenes.

    Those whose pictures have values in 0…1, channels in the order R, G, B.
    """
    for model in sorted(folder.glob("*.torchscript.onnx")):
        yield Case(model, SCENES / "heldout", zqc.InputFormat())


def chooses_cases(detectors: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command MODELS, PICTURES, ``--zoo`` and ``--detectors``, and its function ``cases``.

    These are the example, the shared models and those of the zoo that exist, in this order.

    Args:
        detectors: The part of their names that is taken where nothing is said.
    """
    folder = click.Path(path_type=Path, exists=True, file_okay=False)

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @click.argument("models", type=folder)
        @click.argument("pictures", type=folder)
        @click.option("--zoo", type=folder)
        @click.option("--detectors", default=detectors, help="Part of the names of the detectors.")
        @wraps(command)
        def with_cases(
            models: Path, pictures: Path, zoo: Path | None, detectors: str, **options: Any
        ) -> None:
            every = (EXAMPLE, *shared_cases(models, pictures), *(zoo_cases(zoo) if zoo else ()))
            cases = [case for case in every if detectors in case.name and case.model.exists()]
            command(cases=cases, **options)

        return with_cases

    return decorated
