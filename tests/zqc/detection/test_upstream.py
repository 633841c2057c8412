"""Walking up a graph."""

import onnx
import onnx_ir as ir

from zqc.detection.upstream import MOVING, PICKED, layers_before, sources, walk

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
GRAPH = ir.from_proto(
    onnx.parser.parse_model(f"""{HEAD} g (float[1,4] x, float[4,4] w, int64[2] s)
    => (float[1,8] y, float[1,4] z) {{
        a = MatMul(x, w)  b = MatMul(a, w)  c = Relu(b)  d = Exp(a)  e = Reshape(d, s)
        f = Concat<axis=1>(c, e)  y = Identity(f)  z = Cast<to=1>(x)
    }}""")
).graph
Y, Z = GRAPH.outputs


def types(nodes):
    """Operator types in order."""
    return [node.op_type if node is not None else "" for node in nodes]


def test_nodes_are_walked_once_from_left_to_right():
    """Up to where there is nothing to go on with; the MatMul that both sides need comes once."""
    found = types(walk([Y], lambda node: node.inputs))
    assert found == ["Identity", "Concat", "Relu", "MatMul", "MatMul", "Reshape", "Exp"]
    assert types(walk([Y, None], lambda node: node.inputs[:0])) == ["Identity"]


def test_sources_are_seen_through_what_moves():
    """Both sides of a Concat where that may be passed, and None for an input."""
    assert types(sources(Y, MOVING)) == ["Relu", "Exp"]
    assert types(sources(Y, PICKED)) == ["Concat"]
    assert types(sources(Z, MOVING)) == [""]
    assert types(sources(None, MOVING)) == [""]


def test_the_nearest_layers():
    """Of each side its own; a layer is its own nearest."""
    first, second = (node for node in GRAPH if node.op_type == "MatMul")
    assert layers_before([Y.producer(), None]) == {first, second}
    assert layers_before([second]) == {second}
