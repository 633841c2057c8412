"""The input format that a model states itself: by its type, its metadata or its first operators."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.canonicalize.affine import from_arithmetic, from_batchnorm
from passes.graph import constant, sole_consumer
from passes.layers import layer_of
from zqc.pictures.input_format import InputFormat
from zqc.pictures.model_input import picture_shape

_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "NominalRange_0_255": (0.0, 255.0),
        "Normalized_0_1": (0.0, 1.0),
        "Normalized_1_1": (-1.0, 1.0),
        "NominalRange_16_235": (16.0, 235.0),
    }
)
"""Values of ``Image.NominalPixelRange`` in ONNX's MetadataProps."""

_ORDERS: Mapping[str, bool] = MappingProxyType({"Bgr8": True, "Rgb8": False})
"""Values of ``Image.BitmapPixelFormat``: whether blue comes first."""

_WHITE = 255.0

_NARROWEST, _WIDEST = 0.9, 6.0
"""Span of a normalised channel: 1 for 0:1, 2 for -1:1, at most 1/0.2 for means and deviations."""

_LOWEST = -3.5
"""Where a normalised channel begins: black is less than 0.7 from the mean, in spans."""

Floats = NDArray[np.float64]


def stated_format(
    model: ir.Model, *, pixels: bool = False, bgr: bool = False
) -> tuple[InputFormat, str] | None:
    """Return the input format that a model states, and what states it; None where nothing does.

    1. An input of 8-bit pixels takes 0:255.
    2. Metadata: ``Image.NominalPixelRange`` and ``Image.BitmapPixelFormat`` of ONNX's own list.
       Models of Ultralytics, which sign their metadata, take 0:1.
    3. The first operators. With a and b what they make of a channel, a·x + b, and a input range
       0:r, the result spans a·r. r is the one of 1 and 255 for which that is a normalised channel,
       which spans 1 (0:1) to about 4.5 (means and deviations of ImageNet). Pixels less their means
       are 0:255, too. Operators that do nothing state nothing.

    Args:
        model: A model with a float32 picture, channels first.
        pixels: Whether the file takes it as 8-bit pixels.
        bgr: Whether the channels are known to stand in the order blue, green, red.
    """
    if pixels:
        return InputFormat.from_range(0, _WHITE, bgr), "the model takes 8-bit pixels"
    metadata = model.metadata_props
    named = _RANGES.get(metadata.get("Image.NominalPixelRange", ""))
    if named is not None:
        order = _ORDERS.get(metadata.get("Image.BitmapPixelFormat", ""), False)
        return InputFormat.from_range(*named, bgr or order), "from the model's metadata"
    white = _white_of(*_first_map(model))
    if white is not None:
        return InputFormat.from_range(0, white, bgr), "from the model's first operators"
    if metadata.get("author") == "Ultralytics":
        return InputFormat.from_range(0, 1, bgr), "from the model's metadata"
    return None


def _first_map(model: ir.Model) -> tuple[Floats, Floats]:
    """Factor and offset per channel of what the first operators do to the picture."""
    value = model.graph.inputs[0]
    factor, shift = np.ones(picture_shape(model)[0]), np.zeros(picture_shape(model)[0])
    while (node := sole_consumer(value)) is not None:
        step = _step(node, value)
        if step is None or len(step[0]) != len(factor):
            break
        factor, shift = step[0] * factor, step[0] * shift + step[1]
        value = node.outputs[0]
    return factor, shift


def _step(node: ir.Node, value: ir.Value) -> tuple[Floats, Floats] | None:
    """Factor and offset of one operator; None for one that does something else."""
    if node.op_type == "Identity" and value.shape is not None:
        count = value.shape[1]
        return (np.ones(count), np.zeros(count)) if isinstance(count, int) else None
    if node.op_type == "BatchNormalization":
        found = from_batchnorm(node)
        mean, variance = (constant(v) for v in node.inputs[3:5])
        if found is None or mean is None or variance is None:
            return None
        # What it has learned on top does not tell about the pictures.
        deviation = np.sqrt(np.maximum(variance.astype(np.float64), 1e-12))
        return 1 / deviation, -mean / deviation
    if node.op_type == "Conv":
        return _normalising(node)
    found = from_arithmetic(node)
    return None if found is None else (found.factor, found.shift)


def _normalising(node: ir.Node) -> tuple[Floats, Floats] | None:
    """A 1×1 Conv that scales each channel by itself."""
    layer = layer_of(node)
    if layer is None or not layer.has_constant_bias or layer.weight[0, 0].size != 1:
        return None
    count = layer.outputs
    matrix = layer.weight.reshape(count, -1).astype(np.float64)
    if matrix.shape[1] == count > 1:
        if np.count_nonzero(matrix - np.diag(np.diag(matrix))):
            return None
        matrix = np.diag(matrix)[:, None]
    if matrix.shape[1] != 1 or layer.groups not in (1, count):
        return None
    bias = layer.bias
    return matrix[:, 0], np.zeros(count) if bias is None else bias.astype(np.float64)


def _white_of(factor: Floats, shift: Floats) -> float | None:
    """The value of white for which the map is a normalisation; None where none is."""
    if np.all(factor == 1) and not shift.any():
        return None
    if np.allclose(factor, 1) and np.all(shift < _LOWEST):
        return _WHITE
    for white in (1.0, _WHITE):
        span = factor * white
        if np.all((span >= _NARROWEST) & (span <= _WIDEST) & (shift <= 0) & (shift >= _LOWEST)):
            return white
    if np.allclose(factor, _WHITE, rtol=0.01) and not shift.any():
        return 1.0
    return None
