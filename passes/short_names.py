"""Short names for what quantization inserted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import onnx_ir as ir

from passes.graph import Namer, is_float

_INSERTED = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast"})


@dataclass(frozen=True)
class ShortNames(ir.passes.InPlacePass):
    """Rename the tensors between QuantizeLinear, Cast, DequantizeLinear and their readers. Exact.

    In a small network with 4-bit weights these names are a tenth of the file. Everything the user's
    model named keeps its name: inputs, outputs, layers, activations, weights.

    1. Results of QuantizeLinear, DequantizeLinear, Cast and of operators on integers, unless they
       are graph outputs: ``0``, ``1``, …; the nodes of the first three lose their names.
    2. Anything else is left alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rename in graph order."""
        graph = model.graph
        name = Namer(graph)
        numbers = count()
        for node in graph:
            on_integers = node.outputs[0].dtype is not None and not is_float(node.outputs[0])
            if node.op_type in _INSERTED or (on_integers and node.op_type == "Clip"):
                for output in node.outputs:
                    if not output.is_graph_output():
                        output.name = name(f"{next(numbers)}")
                node.name = ""
        return ir.passes.PassResult(model, modified=True)
