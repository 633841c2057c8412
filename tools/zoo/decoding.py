"""From the outputs of a network of the zoo to what it has detected, as zqc itself reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.detection.conventions.convention import Convention, Facts
from zqc.detection.conventions.recognise import recognise
from zqc.detection.parts import OutputPart, output_parts
from zqc.errors import ZqcError
from zqc.model_io import model_file
from zqc.model_io.any_model import split_file

Outputs = Mapping[str, NDArray[np.generic]]


def convention_of(file: Path, outputs: Outputs, size: int) -> Convention | None:
    """How zqc reads the outputs of a file.

    Args:
        file: An ONNX file.
        outputs: What it gave for one picture.
        size: Height and width of that in pixels.

    Returns:
        None where it knows none of what they hold.

    Raises:
        ModelError: The file cannot be read.
    """
    whole, _, _ = split_file(file)
    for value in whole.graph.outputs:
        value.shape = ir.Shape(outputs[value.name or ""].shape)
    return recognise(
        Facts(
            {name: array.shape for name, array in outputs.items()},
            size,
            size,
            metadata=dict(whole.metadata_props),
            graph=whole.graph,
            parts=_parts(whole, file, size),
        )
    )


def _parts(whole: ir.Model, file: Path, size: int) -> tuple[OutputPart, ...]:
    """Those of the outputs; where the file does not show them, those of its simplified graph."""
    parts = output_parts(whole)
    if all(part.kind != "raw" for part in parts):
        return parts
    try:
        simplified = model_file.load(file, input_shape=(size, size)).part()
    except ZqcError:
        return parts
    known = {value.name for value in simplified.graph.outputs}
    return output_parts(simplified) if {part.output for part in parts} <= known else parts
