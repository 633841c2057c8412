"""Layers with equal weights share one, as the levels of a pyramid share the weights of a head."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import weighted_layers
from passes.layers import layer_of


@dataclass(frozen=True)
class SharedWeights(ir.passes.InPlacePass):
    """Let layers whose weights are equal read the same initializer. Exact.

    Heads of RetinaNet, FCOS and the like use the same weights on every level of a pyramid, but
    exporters and simplifiers often write one copy a level.

    1. Constant weights of Conv, ConvTranspose, Gemm and MatMul of the same type, shape and bytes:
       all layers read the first. The copies are left for dead-code removal.
    2. Left alone: biases and other constants, which are small.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Compare every weight with those before it."""
        first: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        keys: dict[ir.Value, tuple[str, tuple[int, ...], bytes]] = {}
        modified = False
        for node in weighted_layers(model.graph):
            layer = layer_of(node)
            if layer is None:
                continue
            value = layer.weight_value
            if value not in keys:
                keys[value] = layer.weight.dtype.str, layer.weight.shape, _digest(layer.weight)
            shared = first.setdefault(keys[value], value)
            if shared is not value:
                node.replace_input_with(1, shared)
                modified = True
        return ir.passes.PassResult(model, modified)


def _digest(array: NDArray[np.floating]) -> bytes:
    """A hash that only equal arrays have."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()
