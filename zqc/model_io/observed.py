"""Types and shapes that onnx cannot infer, learned by running the model.

onnx knows nothing of the operators of ONNX Runtime's own domain, and of some of its own. A run on
random numbers shows what they give back. Where the batch is open, it runs with two sizes of it:
what follows the batch is named after it, and what changes otherwise stays open.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from passes.analysis.topology import post_processing, with_all_behind
from passes.graph import with_outputs
from passes.operators import PICKING
from zqc.errors import MissingPackageError, ModelError, RuntimeFailure
from zqc.model_io.ends import split

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_SECONDS = 10.0
"""A model that takes longer (a Loop without an end, say) keeps what is unknown of it."""

_BATCHES = (2, 3)


def observe(model: ir.Model) -> None:
    """Fill in types and shapes before the post-processing, as far as a run shows them, in place.

    Values whose shape depends on the picture, behind NonZero and the like, stay as they are.
    """
    unknown = _unknown(model.graph)
    if not unknown:
        return
    try:
        first, second = _runs(model, list(unknown))
    except (MissingPackageError, ModelError, RuntimeFailure) as error:
        logger.debug("shapes stay unknown, the model cannot be run: %s", error)
        return
    batch = _open_batch(model.graph)
    for name, value in unknown.items():
        one, other = first.get(name), second.get(name)
        if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
            continue
        if one.dtype != object:
            value.type = ir.TensorType(ir.DataType.from_numpy(one.dtype))
        if one.ndim == other.ndim:
            value.shape = ir.Shape(
                a if a == b else batch if (a, b) == _BATCHES else None
                for a, b in zip(one.shape, other.shape, strict=True)
            )


def _unknown(graph: ir.Graph) -> dict[str, ir.Value]:
    """Values before the post-processing of which the type, the rank or a size is unknown."""
    tail = post_processing(graph)
    selected = set(with_all_behind(graph, [n for n in graph if n.op_type in PICKING]))
    batch = _open_batch(graph)
    return {
        value.name or "": value
        for node in graph
        if node not in tail and node not in selected
        for value in node.outputs
        if value.name and _is_unknown(value, batch)
    }


def _is_unknown(value: ir.Value, batch: str | None) -> bool:
    """Whether a run could show more; a first dimension that is open may follow the batch."""
    if value.type is None:
        return True
    if not isinstance(value.type, ir.TensorType):
        return False
    if value.shape is None:
        return True
    sizes = value.shape.dims if batch is None else value.shape.dims[1:]
    return any(not isinstance(size, int) and size.value != batch for size in sizes)


def _open_batch(graph: ir.Graph) -> str | None:
    """The name of the batch of the first input; None where it is fixed."""
    shape = graph.inputs[0].shape
    if shape is None or not len(shape) or isinstance(shape[0], int):
        return None
    return shape[0].value or None


def _runs(
    model: ir.Model, names: list[str]
) -> tuple[dict[str, NDArray[np.generic]], dict[str, NDArray[np.generic]]]:
    """The values of two runs on random numbers, of two batch sizes where the batch is open.

    Raises:
        MissingPackageError: There is no ONNX Runtime.
        ModelError: Nothing of the model can be run.
        RuntimeFailure: ONNX Runtime cannot run it, or not in time.
    """
    from zqc.runtime import session

    part, _ = split(model)
    computed = {value.name for node in part.graph for value in node.outputs}
    names = [name for name in names if name in computed]
    runner = session.load(with_outputs(part, names), outputs=names, threads=1, optimize=False)
    generator = np.random.default_rng(0)
    first, second = (
        runner(
            {value.name or "": _random(value, batch, generator) for value in part.graph.inputs},
            seconds=_SECONDS,
        )
        for batch in _BATCHES
    )
    return first, second


def _random(value: ir.Value, batch: int, generator: np.random.Generator) -> NDArray[np.generic]:
    """Numbers in 0…1, or small integers, for an input."""
    shape = [d if isinstance(d, int) else batch for d in value.shape or ()]
    dtype = np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()
    if dtype.kind == "f":
        return generator.uniform(size=shape).astype(dtype)
    return generator.integers(1, 2, size=shape).astype(dtype)
