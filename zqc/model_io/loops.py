"""Whether a Loop ends, as far as it can be seen without running it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from zqc.errors import ModelError

MOST_ROUNDS = 1_000_000
"""A Loop over all candidates of a detector has some ten thousand rounds."""


def check_loop(node: onnx.NodeProto, graph: onnx.GraphProto, what: str) -> None:
    """Refuse a Loop that says itself that it has no end, or none that anybody sees.

    One that computes its number of rounds is found out when it runs, see ``trial``.

    Args:
        node: A node of any kind.
        graph: The graph that it stands in, for its constants.
        what: What messages call it.

    Raises:
        ModelError: Its rounds are more than ``MOST_ROUNDS``, and nothing in it ends it sooner.
    """
    if node.op_type != "Loop" or node.domain not in ("", "ai.onnx"):
        return
    body = next((a.g for a in node.attribute if a.name == "body"), None)
    if body is None or not body.output or _ends_itself(body):
        return
    rounds = _constant(node.input[0], graph) if node.input and node.input[0] else None
    if rounds is None and node.input and node.input[0]:
        return
    if rounds is None or rounds > MOST_ROUNDS:
        count = "no end" if rounds is None else f"{rounds:,} rounds"
        raise ModelError(
            f"{what} has {count}, but at most {MOST_ROUNDS:,} rounds are run; export the model "
            "with a Loop that ends"
        )


def _ends_itself(body: onnx.GraphProto) -> bool:
    """Whether the condition that a body computes could become false."""
    name, given = body.output[0].name, body.input[1].name if len(body.input) > 1 else ""
    makers = {output: node for node in body.node for output in node.output}
    while name in makers and makers[name].op_type == "Identity":
        name = makers[name].input[0]
    if name == given:
        return False
    value = _constant(name, body)
    return value is None or not value


def _constant(name: str, graph: onnx.GraphProto) -> int | None:
    """The number that a constant of a graph holds; None where it is none, or several."""
    tensors = [tensor for tensor in graph.initializer if tensor.name == name]
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output:
            tensors += [a.t for a in node.attribute if a.name == "value"]
            tensors += [
                numpy_helper.from_array(np.array(a.i))
                for a in node.attribute
                if a.name == "value_int"
            ]
    if len(tensors) != 1 or onnx.external_data_helper.uses_external_data(tensors[0]):
        return None
    array = numpy_helper.to_array(tensors[0])
    return int(array.reshape(())) if array.size == 1 and array.dtype.kind in "bi" else None
