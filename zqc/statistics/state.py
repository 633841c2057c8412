"""In which state BatchNormalization is in a model, which decides what comes next."""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx_ir as ir

from passes.graph import constant
from zqc.errors import NoBatchNormError
from zqc.statistics.batchnorm import harvest

State = Literal["kept", "untrained", "folded"]
"""Its statistics can be read; they are those that training begins with; there are none."""


def statistics_state(model: ir.Model) -> State:
    """Return the state of a model as ``model_io`` loads it."""
    try:
        harvest(model)
    except NoBatchNormError:
        return "folded"
    nodes = [node for node in model.graph if node.op_type == "BatchNormalization"]
    return "untrained" if all(map(_is_initial, nodes)) else "kept"


def _is_initial(node: ir.Node) -> bool:
    """Whether mean and variance are 0 and 1 in all channels, as before the first step."""
    mean, variance = (constant(value) for value in node.inputs[3:5])
    return (
        mean is not None
        and variance is not None
        and bool(np.all(mean == 0) and np.all(variance == 1))
    )
