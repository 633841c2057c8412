"""Detectors that studies compare with their float models, each with the options that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zqc
from tools.paths import DETECTOR, SCENES

_IMAGENET = zqc.InputFormat.from_mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), bgr=True)


@dataclass(frozen=True)
class Case:
    """A float model, and the real pictures that it is compared on.

    Attributes:
        model: The model.
        pictures: The pictures.
        input_format: What it takes.
        input_shape: Height and width of its input, where these are open.
        anchors: The anchors of an SSD.
        labels: Of the pictures.
        others: Real pictures from elsewhere, which nothing is calibrated with.
    """

    model: Path
    pictures: Path
    input_format: zqc.InputFormat
    input_shape: tuple[int, int] | None = None
    anchors: Path | None = None
    labels: Path | None = None
    others: Path | None = None

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.model.stem

    def recipe(self, **options: object) -> zqc.Recipe:
        """Return a recipe with what the model needs."""
        return zqc.Recipe(input_format=self.input_format, input_shape=self.input_shape, **options)

    def check(self, quantized: Path) -> zqc.CheckResult:
        """Compare a quantized model with the float one."""
        return self._checked(quantized, self.pictures, self.labels)

    def check_elsewhere(self, quantized: Path) -> zqc.CheckResult | None:
        """The same on the other pictures; None without any."""
        if self.others is None:
            return None
        return self._checked(quantized, self.others, None)

    def _checked(self, quantized: Path, pictures: Path, labels: Path | None) -> zqc.CheckResult:
        return zqc.check(
            self.model,
            quantized,
            images=pictures,
            labels=labels,
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

    Those that are compared on pictures of one street have ``photos`` besides. They need not exist.
    """
    return (
        Case(
            models / "ssdlite_mnv2_person_bn.onnx",
            pictures / "street",
            zqc.InputFormat.from_range(-1, 1),
            anchors=models / "ssdlite_mnv2_person_anchors.npy",
            others=pictures / "photos",
        ),
        Case(
            models / "yolov3tiny_coco_bn.onnx",
            pictures / "street",
            zqc.InputFormat(),
            others=pictures / "photos",
        ),
        Case(models / "ppocrv3_det_bn.onnx", pictures / "text", _IMAGENET, (320, 320)),
    )


def zoo_cases(folder: Path) -> Iterator[Case]:
    """The networks that ``tools.zoo.build --export torchscript`` has trained, compared on scenes.

    Those whose pictures have values in 0…1, channels in the order R, G, B.
    """
    for model in sorted(folder.glob("*.torchscript.onnx")):
        yield Case(model, SCENES / "heldout", zqc.InputFormat())
