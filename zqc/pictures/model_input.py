"""The input of a detector: its name, and what pictures it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zqc.errors import ModelError

if TYPE_CHECKING:
    import onnx_ir as ir


def input_name(model: ir.Model) -> str:
    """The name of the model's input."""
    name = model.graph.inputs[0].name
    assert name is not None  # model_io names every value
    return name


def fixed_batch(model: ir.Model) -> int | None:
    """How many pictures the model takes at once; None where it leaves that open."""
    shape = model.graph.inputs[0].shape
    return shape[0] if shape is not None and isinstance(shape[0], int) else None


def picture_shape(model: ir.Model) -> tuple[int, int, int]:
    """Channels, height and width of one picture.

    Raises:
        ModelError: The input is no picture, or leaves one of them open.
    """
    shape = model.graph.inputs[0].shape
    sizes = () if shape is None else tuple(d for d in shape.dims[1:] if isinstance(d, int))
    if len(sizes) != 3:
        raise ModelError("the input is no picture of shape (N, C, H, W)")
    return sizes[0], sizes[1], sizes[2]
