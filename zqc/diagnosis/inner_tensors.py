"""Tensors inside of a model: made outputs of it, and some values of each kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import name_of

_SAMPLES = 8192
"""Values of a tensor that are kept of each batch."""


def exposing(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """Return a copy of a model that has further outputs."""
    copy = model.clone()
    present = {name_of(value) for value in copy.graph.outputs}
    values = {name_of(v): v for node in copy.graph for v in node.outputs}
    copy.graph.outputs.extend(values[n] for n in dict.fromkeys(names) if n not in present)
    return copy


class Samples:
    """Some values of tensors, kept batch by batch; the same ones every time."""

    def __init__(self, names: Iterable[str]) -> None:
        """Keep values of these tensors."""
        self._generator = np.random.default_rng(0)
        self._kept: dict[str, list[NDArray[np.float32]]] = {name: [] for name in sorted({*names})}

    def add(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Draw from one batch: all values of a tensor, where there are few."""
        for name, kept in self._kept.items():
            flat = arrays[name].reshape(-1)
            if flat.size > _SAMPLES:
                flat = flat[self._generator.integers(0, flat.size, _SAMPLES)]
            kept.append(flat.astype(np.float32, copy=False))

    def of_all(self) -> dict[str, NDArray[np.float32]]:
        """Return what was kept, by the name of the tensor."""
        return {name: np.concatenate(kept) for name, kept in self._kept.items()}
