"""Values of some tensors of a model, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import remove_unused, with_outputs
from zqc.pictures.model_input import input_name
from zqc.runtime import session


class TensorReader:
    """Runs as much of a model as some of its tensors need.

    Args:
        model: A model whose first input is the picture; the others have values.
        tensors: Names of intermediate tensors, or of inputs; each counts once.
        threads: Threads of ONNX Runtime.
        optimize: Whether ONNX Runtime may change the graph.

    Raises:
        RuntimeFailure: ONNX Runtime cannot load the model; calling it, that it failed.
    """

    def __init__(
        self,
        model: ir.Model,
        tensors: Sequence[str],
        *,
        threads: int | None,
        optimize: bool = True,
    ) -> None:
        self._source = input_name(model)
        inputs = {value.name: value.const_value for value in model.graph.inputs}
        self._known = {n: t.numpy() for n, t in inputs.items() if n in set(tensors) and t}
        computed = [name for name in dict.fromkeys(tensors) if name not in inputs]
        self._runner = None
        if computed:
            part = with_outputs(model, computed)
            remove_unused(part)
            self._runner = session.load(part, outputs=computed, threads=threads, optimize=optimize)

    def __call__(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return the tensors of one batch by name, and the input."""
        given = {self._source: batch}
        outputs = self._runner(given) if self._runner is not None else {}
        found = {**self._known, **outputs}
        return given | {name: o.astype(np.float32, copy=False) for name, o in found.items()}
