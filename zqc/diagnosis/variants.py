"""Models that are quantized in part: which layers have rounded weights, which tensors a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from passes import AbsorbedBounds, QuantizeActivations
from passes.analysis.topology import weighted_layers
from passes.arithmetic import Grid
from passes.graph import Namer
from passes.layers import layer_of
from passes.qdq import dequantized_constant

if TYPE_CHECKING:
    from passes.quantize.quantize_activations import Constants

Form = Literal["asked", "spared"]
"""Rounded as it is asked for, or with the bits that would spare the layer."""


@dataclass(frozen=True)
class Parameters:
    """What a layer multiplies and adds, in floating point.

    Attributes:
        weight: In the shape of the layer's weight.
        bias: In the shape of its bias; None without one.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None


@dataclass(frozen=True)
class Variant:
    """A model that is quantized in part.

    Attributes:
        name: What it is called; evaluations are kept under it.
        layers: By name of the layer, which rounded weights it has; the others are float.
        tensors: Names of the tensors that are on their grids.
    """

    name: str
    layers: Mapping[str, Form] = field(default_factory=dict)
    tensors: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """A text that differs from that of any other variant of the same model."""
        said = repr((self.name, sorted(self.layers.items()), sorted(self.tensors)))
        return sha256(said.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Quantizable:
    """A float model with all that quantization made of it, of which variants have a part.

    Attributes:
        content: The float model, serialized.
        grids: The grid of every quantized tensor, by name.
        constants: What becomes of constant operands, see ``QuantizeActivations``.
        parameters: Rounded weights and biases of the layers by name, for each form.
    """

    content: bytes = field(repr=False)
    grids: Mapping[str, Grid]
    constants: Constants
    parameters: Mapping[Form, Mapping[str, Parameters]] = field(repr=False)

    @property
    def model(self) -> ir.Model:
        """The float model; whoever changes it takes a copy."""
        return _parsed(self.content)

    def variant(self, variant: Variant) -> ir.Model:
        """Return a float model that computes what the variant does.

        The rounded weights are written as the floating-point numbers that they stand for, so that
        it has to run as it is written: see ``zqc.quantization.paired_inputs``.
        """
        model = self.model.clone()
        grids = {name: grid for name, grid in self.grids.items() if name in variant.tensors}
        QuantizeActivations(grids, self.constants)(model)
        AbsorbedBounds()(model)
        name = Namer(model.graph)
        for node in weighted_layers(model.graph):
            form = variant.layers.get(node.name or "")
            layer = layer_of(node)
            if form is None or layer is None:
                continue
            parameters = self.parameters[form].get(node.name or "")
            if parameters is None:
                continue
            layer.set_weight(parameters.weight, name)
            if parameters.bias is not None:
                layer.set_bias(parameters.bias, name)
        return model


def rounded_parameters(quantized: ir.Model) -> dict[str, Parameters]:
    """Return weights and biases of the layers of a canonical quantized model, by their names.

    Left out: layers whose weights are float, or computed.
    """
    found = {}
    for node in weighted_layers(quantized.graph):
        weight = node.inputs[1]
        producer = weight.producer() if weight is not None else None
        array = dequantized_constant(weight)
        if producer is None or array is None:
            continue
        bias = dequantized_constant(node.inputs[2]) if len(node.inputs) > 2 else None
        found[node.name or ""] = Parameters(
            array.astype(np.float32), None if bias is None else bias.astype(np.float32)
        )
    return found


@lru_cache(maxsize=2)
def _parsed(content: bytes) -> ir.Model:
    model: ir.Model = ir.from_proto(onnx.ModelProto.FromString(content))
    return model
