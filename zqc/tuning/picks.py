"""What a quantized model picks, where its graph picks by values: queries, for one."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from passes.graph import name_of
from zqc.autodiff.emitter import Emitter


def pick_alike(emitter: Emitter, graph: ir.Graph, teachers: Mapping[str, ir.Value]) -> None:
    """Let the quantized model pick by TopK what the float model beside it picks.

    What is behind stands for the same places in both then, one by one: else errors would be those
    of one place against another, as soon as rounding changes the order. Values are still the
    quantized model's own.

    Args:
        emitter: Appends to the graph.
        graph: With both models.
        teachers: The indices of the float model, by the name that they have in the quantized one.
    """
    changed = False
    for node in [node for node in graph if node.op_type == "TopK"]:
        values, indices = node.outputs
        other = teachers.get(name_of(indices))
        if other is None or other is indices:
            continue
        axis = {"axis": node.attributes["axis"].as_int()} if "axis" in node.attributes else {}
        own = emitter.op("GatherElements", [node.inputs[0], other], {"axis": -1} | axis, "picked")
        own.shape = values.shape
        for old, new in ((values, own), (indices, other)):
            for user, place in tuple(old.uses()):
                user.replace_input_with(place, new)
        changed = True
    if changed:
        graph.sort()


def picking(model: ir.Model) -> list[str]:
    """Names of the indices that a model picks by."""
    return [name_of(n.outputs[1]) for n in model.graph if n.op_type == "TopK" and n.outputs[1].name]
