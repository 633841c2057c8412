"""What cannot be run or compared is cut off, and comes back as it was."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests import nets
from tests.zqc.model_io.helpers import CONV_NORM, IMAGE, load, operators, outputs
from zqc.errors import ModelError
from zqc.model_io import ends, model_file

NORMED = "float[N, 8, 8, 8]"
PLAIN = f"{IMAGE} ({NORMED} y) {{ {CONV_NORM} y = Relu (normed) }}"


def graph(declared, body, **more):
    """A small network with the given outputs and what makes them."""
    text = f"{IMAGE} ({declared}) {{ {CONV_NORM} {body} }}"
    return nets.model(text, opset=17, domains=["com.example"], **nets.weights(), **more)


def written(source, opset=17):
    """The file of a model that has been worked on, and was raised to an operator set."""
    model = model_file.raise_opset(source.model, opset)
    return onnx.ModelProto.FromString(model_file.serialize(model, metadata={}, source=source))


def interface(proto):
    """Inputs and outputs as they are declared."""
    return [v.SerializeToString() for v in (*proto.graph.input, *proto.graph.output)]


ENDS = {
    "an operator of another runtime": (
        f"int32[N, 1] count, float[N, 10, 4] found, {NORMED} y",
        "y = Relu (normed) count, found = com.example.NMS <limit = 10> (y)",
        ["y"],
        {"count": "com.example.NMS", "found": "com.example.NMS"},
    ),
    "behind an operator of another runtime": (
        f"float[N, 8] z, {NORMED} y",
        "y = Relu (normed) a = com.example.Decode (y) z = Sigmoid (a)",
        ["y"],
        {"z": "com.example.Decode"},
    ),
    "a sequence": (
        f"seq(float[N, 1, 8, 8]) z, {NORMED} y",
        "y = Relu (normed) z = SplitToSequence <axis = 1> (y)",
        ["y"],
        {"z": "a sequence"},
    ),
    "a sequence alone": (
        "seq(float[N, 1, 8, 8]) z",
        "y = Relu (normed) z = SplitToSequence <axis = 1> (y)",
        ["y"],
        {"z": "a sequence"},
    ),
    "strings": (
        f"string[2] z, {NORMED} y",
        'y = Relu (normed) z = Constant <value_strings = ["cat", "dog"]> ()',
        ["y"],
        {"z": "a constant"},
    ),
    "constants": (
        f"int64[3] z, {NORMED} y",
        "y = Relu (normed) z = Constant <value_ints = [8, 16, 32]> ()",
        ["y"],
        {"z": "a constant"},
    ),
    "an input": (f"{NORMED} y, float[N, 3, 8, 8] x", "y = Relu (normed)", ["y"], {"x": "an input"}),
    "what is selected": (
        f"int64[K, 3] z, {NORMED} y",
        """y = Relu (normed) rows = Reshape (y, by_box) scores = Reshape (y, by_class)
        corners = Slice (rows, zero, four, two) z = NonMaxSuppression (corners, scores, most)""",
        ["y", "corners", "scores"],
        {"z": "NonMaxSuppression"},
    ),
}
CONSTANTS = {
    "by_box": np.array([1, -1, 8]),
    "by_class": np.array([1, 8, -1]),
    "zero": np.array([0]),
    "four": np.array([4]),
    "two": np.array([2]),
    "most": np.array([5]),
}


@pytest.mark.parametrize("kind", ENDS)
def test_ends_are_cut_off_and_come_back(kind, tmp_path, caplog):
    """What runs lacks them, a warning names them, and the file is declared as the source was."""
    declared, body, compared, reasons = ENDS[kind]
    read = {n: a for n, a in CONSTANTS.items() if n in body}
    proto = graph(declared, body, **read)
    source = load(proto, tmp_path)
    assert [value.name for value in source.model.graph.outputs] == compared
    assert source.ends.reasons.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in source.ends.reasons[name]
        assert name in caplog.text
    for opset in (17, 21):
        assert interface(written(source, opset)) == interface(proto)
    feed = np.ones((1, 3, 8, 8), np.float32)
    assert all(value.shape[0] for value in outputs(source.model, feed).values())


def test_a_part_that_runs_computes_the_same(tmp_path, rng):
    """With everything behind it again, the outputs are those of the source, bit by bit."""
    declared, body, *_ = ENDS["what is selected"]
    proto = graph(declared, body, **CONSTANTS)
    source = load(proto, tmp_path)
    feed = rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    expected = outputs(proto.SerializeToString(), feed)
    found = outputs(written(source).SerializeToString(), feed)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_nothing_is_cut_where_all_can_be_compared(tmp_path):
    """A plain detector is all that runs, and nobody is told anything."""
    source = load(nets.model(PLAIN, **nets.weights()), tmp_path)
    assert source.ends.reasons == {}
    assert source.ends.warning() == ""
    assert source.ends.tail is None


def test_selection_inside_the_network_is_run(tmp_path):
    """Layers behind a TopK are worth more than a comparison before it."""
    body = """rows = Reshape (normed, flat) best, places = TopK (rows, most)
    y = MatMul (best, matrix)"""
    arrays = {"flat": np.array([1, 8, 64]), "most": np.array([16])}
    matrix = np.ones((16, 4), np.float32)
    proto = graph("float[1, 8, 4] y", body, matrix=matrix, **arrays)
    source = load(proto, tmp_path)
    assert source.ends.reasons == {}
    assert {"TopK", "MatMul"} <= set(operators(source.model))


@pytest.mark.parametrize("made", ["w = Transpose (rows_w)", "w = DequantizeLinear (w_q, w_s)"])
def test_a_layer_whose_weight_is_computed_is_one(made):
    """Exporters transpose weights, and those of a compiled file are dequantized: neither is cut."""
    body = f"""rows = Reshape (normed, flat) best, places = TopK (rows, most)
        {made} again = MatMul (best, w) y = Relu (again)"""
    model = graph(
        "float[N, 3] y",
        body,
        flat=np.array([-1, 512], np.int64),
        most=np.array([5], np.int64),
        **({"rows_w": np.ones((3, 5), np.float32)} if "rows_w" in made else {}),
        **({"w_q": np.ones((5, 3), np.int8), "w_s": np.float32(1)} if "w_q" in made else {}),
    )
    whole = ir.from_proto(model) if isinstance(model, onnx.ModelProto) else model
    _, left = ends.split(whole)
    assert not left.reasons


def test_layers_behind_another_runtime_are_named(tmp_path, caplog):
    """They stay float, which the warning says."""
    body = "a = com.example.Attention (normed) y = Conv (a, last)"
    proto = graph("float[N, 4, 8, 8] y", body, last=np.ones((4, 8, 1, 1), np.float32))
    source = load(proto, tmp_path)
    assert [layer.op_type for layer in source.ends.layers()] == ["Conv"]
    assert "1 layer behind" in caplog.text


def test_nothing_left_is_an_error(tmp_path):
    """A network behind an operator that cannot be run cannot be calibrated."""
    text = f"{IMAGE} (float[N, 8, 8, 8] normed) {{ x2 = com.example.Decode (x) {CONV_NORM} }}"
    text = text.replace("Conv <pads = [1, 1, 1, 1]> (x,", "Conv <pads = [1, 1, 1, 1]> (x2,")
    with pytest.raises(ModelError, match=r"nothing to compile.*com\.example\.Decode"):
        load(nets.model(text, domains=["com.example"], **nets.weights()), tmp_path)


def test_plugins_in_the_default_domain(tmp_path):
    """TensorRT's come and go there; anything else that ONNX does not know is damage."""
    body = "y = Relu (normed) z = {} (y)"
    source = load(graph("float[N, 4] z", body.format("EfficientNMS_TRT")), tmp_path)
    assert source.ends.foreign
    proto = written(source, 21)
    assert (proto.graph.node[-1].domain, proto.graph.node[-1].op_type) == ("", "EfficientNMS_TRT")
    assert [each.domain for each in proto.opset_import] == [""]
    with pytest.raises(ModelError, match="ONNX has no operator 'Reluu'"):
        load(graph("float[N, 4] z", body.format("Reluu")), tmp_path)


def test_names_on_both_sides_stay_apart(tmp_path, rng):
    """What lowering calls its values may be what the tail calls its own."""
    body = "y = Relu (normed) a = SplitToSequence <axis = 1> (y) z = SequenceAt (a, zero)"
    source = load(
        graph(f"seq(float[N, 1, 8, 8]) a, {NORMED} y", body[: body.index("z =")]), tmp_path
    )
    for value in source.model.graph.node(0).outputs:
        value.name = "a"
    proto = written(source)
    onnx.checker.check_model(proto)
    feed = rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    assert len(outputs(proto.SerializeToString(), feed)["a"]) == 8


def test_a_subgraph_reads_across_the_cut(tmp_path):
    """An operator of another runtime inside an If takes the whole If with it."""
    body = """y = Relu (normed) most = ReduceMax <keepdims = 0> (y) positive = Greater (most, none)
    z = If (positive) <
        then_branch = yes () => (float a) { a = com.example.Decode (y) },
        else_branch = no () => (float b) { b = Identity (most) }
    >"""
    proto = graph(f"float z, {NORMED} y", body, none=np.float32(0))
    source = load(proto, tmp_path)
    assert list(source.ends.reasons) == ["z"]
    assert [value.name for value in source.model.graph.outputs] == ["y", "positive", "most"]
    whole = ir.from_proto(written(source))
    assert [node.op_type for node in whole.graph][-1] == "If"
