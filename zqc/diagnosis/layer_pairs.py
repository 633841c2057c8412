"""The layers of a quantized model beside those of its float model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from passes.analysis.quantization_points import quantization_points
from passes.analysis.topology import weighted_layers
from passes.layers import layer_of
from zqc.diagnosis.counterparts import Match, matches
from zqc.diagnosis.quantized_model import QuantizedModel
from zqc.diagnosis.transplant import Placed, placed
from zqc.errors import ModelError


@dataclass(frozen=True)
class LayerPairs:
    """Both models, and their layers side by side.

    Attributes:
        model: The float model.
        quantized: The quantized one.
        found: Layers of the float model with their counterparts.
        places: Roundings of each layer in the float model, by its name.
        not_found: Names of layers without a counterpart.
    """

    model: ir.Model
    quantized: QuantizedModel
    found: tuple[Match, ...]
    places: Mapping[str, tuple[Placed, ...]]
    not_found: tuple[str, ...]


def layer_pairs(model: ir.Model, quantized: QuantizedModel, name: str) -> LayerPairs:
    """Find the counterparts of the layers, and where their roundings stand in the float model.

    Args:
        model: The prepared float model.
        quantized: The quantized model.
        name: What messages call it.

    Raises:
        ModelError: They have no layer in common.
    """
    nodes = weighted_layers(model.graph)
    layers = [layer for node in nodes if (layer := layer_of(node)) is not None]
    found = matches(layers, quantized.layers)
    if not found:
        raise ModelError(
            f"no layer of {name} has anything in common with the float model; give the model that "
            "it was made of"
        )
    owned = {rounding.name for layer in quantized.layers for rounding in layer.outputs}
    points = quantization_points(model.graph)
    squashed = {name: str(point.squashed_by) for point in points for name in point.names}
    places = {}
    for match in found:
        source = match.quantized.source
        if source is not None and source.name in owned:
            source = None  # of the layer that it comes from
        elif source is not None:
            owned.add(source.name)
        outputs = match.quantized.outputs
        places[match.layer.node.name or ""] = placed(match, outputs, source, squashed)
    known = set(places)
    return LayerPairs(
        model,
        quantized,
        tuple(found),
        places,
        tuple(layer.node.name or "" for layer in layers if layer.node.name not in known),
    )
