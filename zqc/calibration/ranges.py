"""Ranges of tensors over calibration pictures, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc import runtime
from zqc.calibration.histogram import Histogram, add, empty
from zqc.errors import RuntimeFailure

if TYPE_CHECKING:
    from zqc.progress import Task


def collect(
    model: ir.Model,
    tensors: Sequence[str],
    batches: Iterable[NDArray[np.float32]],
    *,
    task: Task,
    threads: int | None = None,
) -> dict[str, Histogram]:
    """Count the values of tensors over all pictures.

    Args:
        model: A float model with one input.
        tensors: Names of inputs or intermediate tensors.
        batches: Input tensors (N, C, H, W); each is run once and forgotten.
        task: Advanced by the number of pictures.
        threads: Threads of ONNX Runtime.

    Returns:
        One histogram per tensor, in the order of ``tensors``.

    Raises:
        RuntimeFailure: A tensor became infinite or not a number, or ONNX Runtime failed.
    """
    source = model.graph.inputs[0].name
    assert source is not None  # model_io names every value
    computed = [name for name in tensors if name != source]
    runner = runtime.load(with_outputs(model, computed), outputs=computed, threads=threads)
    histograms = {name: empty() for name in tensors}
    for batch in batches:
        values: dict[str, NDArray[np.generic]] = {source: batch, **runner({source: batch})}
        for name in tensors:
            try:
                histograms[name] = add(
                    histograms[name], values[name].astype(np.float32, copy=False)
                )
            except FloatingPointError as error:
                raise RuntimeFailure(
                    f"tensor {name!r} became infinite or not a number on a calibration picture; "
                    "check --input-range or --mean/--std"
                ) from error
        task.advance(steps=len(batch))
    return histograms


def with_outputs(model: ir.Model, tensors: Sequence[str]) -> ir.Model:
    """Return a copy of the model whose outputs are the named tensors."""
    copy = model.clone()
    values = {output.name: output for node in copy.graph for output in node.outputs}
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(values[name] for name in tensors)
    return copy
