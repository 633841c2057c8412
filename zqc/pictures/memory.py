"""How many pictures are worked on at once, so that memory stays within a bound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from passes.graph import is_float

if TYPE_CHECKING:
    import onnx_ir as ir

MEMORY = 4 * 10**9
"""Of the process, in bytes, where nothing else is asked for."""

VALUES, GRADIENTS = 2.2, 4.5
"""What work with a picture takes, as a multiple of all values that a model computes of it: where
these are looked at, or only the picture has a gradient; where all of them have one. Measured are
2.0 and 4.3 with RetinaFace at 640×640, 1.3 to 2.3 in syntheses; see docs/results/costs.md."""

_BESIDE = 10**9
"""What is taken whatever the number of pictures: the program, the model in several forms, moments
of the inputs of its layers."""

_BYTES = 4


def picture_bytes(model: ir.Model) -> int:
    """Bytes of all float values that a model computes of one picture, as far as shapes are known.

    Args:
        model: With inferred shapes; the first axis of a value is that of the pictures.
    """
    outputs = [value for node in model.graph for value in node.outputs]
    shapes = [value.shape for value in outputs if value.shape is not None and is_float(value)]
    numbers = [[d for d in shape.dims[1:] if isinstance(d, int)] for shape in shapes]
    return _BYTES * sum(map(math.prod, numbers))


def pictures_at_once(model: ir.Model, memory: int, *, most: int, sizes: float = VALUES) -> int:
    """How many pictures a model may be run with at once: one at least.

    Args:
        model: See ``picture_bytes``.
        memory: What the process may take, in bytes.
        most: No more than these.
        sizes: What each takes: ``VALUES`` or ``GRADIENTS``.
    """
    each = sizes * picture_bytes(model)
    return most if each == 0 else min(max(int((memory - _BESIDE) / each), 1), most)


def memory_needed(model: ir.Model, pictures: int, *, sizes: float = VALUES) -> int:
    """About how many bytes work with so many pictures at once takes; the arguments as above."""
    return round(_BESIDE + pictures * sizes * picture_bytes(model))
