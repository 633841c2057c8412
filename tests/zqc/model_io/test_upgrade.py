"""Old spellings, functions and what the simplifier does: the same values at a newer opset."""

import logging

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests import nets
from tests.zqc.model_io.helpers import CONV_NORM, IMAGE, assert_same_values, load, operators
from zqc.errors import ModelError
from zqc.model_io import preparation, upgrade

# One network for each way in which an operator was written before opset 13.
OLD = {
    "7, Upsample, Clip and Dropout by attributes": (
        7,
        f"""{IMAGE} (float[N, 8, 16, 16] y) {{
            conv = Conv <pads = [1, 1, 1, 1]> (x, weight)
            normed = BatchNormalization <spatial = 1> (conv, scale, bias, mean, variance)
            dropped = Dropout <ratio = 0.5> (normed)
            clipped = Clip <min = 0.0, max = 6.0> (dropped)
            y = Upsample <mode = "nearest", scales = [1.0, 1.0, 2.0, 2.0]> (clipped)
        }}""",
    ),
    "7, Pad and Slice by attributes": (
        7,
        f"""{IMAGE} (float[N, 8, 1, 1] y) {{
            {CONV_NORM}
            padded = Pad <mode = "constant", pads = [0, 0, 1, 1, 0, 0, 1, 1], value = 0.5> (normed)
            sliced = Slice <axes = [2, 3], starts = [1, 1], ends = [7, 7]> (padded)
            y = GlobalAveragePool (sliced)
        }}""",
    ),
    "8, linear Upsample": (
        8,
        f"""{IMAGE} (float[N, 8, 16, 16] y) {{
            {CONV_NORM}
            y = Upsample <mode = "linear", scales = [1.0, 1.0, 2.0, 2.0]> (normed)
        }}""",
    ),
    "9, Upsample by input": (
        9,
        f"""{IMAGE} (float[N, 8, 24, 24] y) {{
            {CONV_NORM}
            scales = Constant <value = float[4] {{1.0, 1.0, 3.0, 3.0}}> ()
            y = Upsample <mode = "nearest"> (normed, scales)
        }}""",
    ),
    "10, linear Resize": (
        10,
        f"""{IMAGE} (float[N, 8, 12, 12] y) {{
            {CONV_NORM}
            scales = Constant <value = float[4] {{1.0, 1.0, 1.5, 1.5}}> ()
            y = Resize <mode = "linear"> (normed, scales)
        }}""",
    ),
    "10, nearest Resize that shrinks": (
        10,
        f"""{IMAGE} (float[N, 8, 3, 3] y) {{
            {CONV_NORM}
            scales = Constant <value = float[4] {{1.0, 1.0, 0.4, 0.4}}> ()
            y = Resize <mode = "nearest"> (normed, scales)
        }}""",
    ),
    "10, Softmax over flattened axes": (
        10,
        f"""{IMAGE} (float[N, 8, 8, 8] y) {{
            {CONV_NORM}
            y = Softmax <axis = 1> (normed)
        }}""",
    ),
    "11, Split, Squeeze and ReduceSum by attributes": (
        11,
        f"""{IMAGE} (float[N, 4] y, float[N, 4, 8, 8] z) {{
            {CONV_NORM}
            first, z = Split <axis = 1, split = [4, 4]> (normed)
            summed = ReduceSum <axes = [2], keepdims = 1> (first)
            meant = ReduceMean <axes = [3], keepdims = 1> (summed)
            y = Squeeze <axes = [2, 3]> (meant)
        }}""",
    ),
}


@pytest.mark.parametrize(("opset", "text"), OLD.values(), ids=OLD)
@pytest.mark.parametrize("as_inputs", [False, True], ids=["", "initializers as inputs"])
def test_load_old_opset(opset, text, as_inputs, tmp_path, rng):
    """Models from opset 7 on come in at opset 13, compute the same and keep their BatchNorm."""
    proto = nets.model(text, opset=opset, **nets.weights())
    proto = nets.initializers_as_inputs(proto) if as_inputs else proto
    source = load(proto, tmp_path)
    assert source.opset == opset
    assert source.model.opset_imports[""] == preparation.MINIMUM_OPSET
    assert operators(source.model).count("BatchNormalization") == 1
    assert [value.name for value in source.model.graph.inputs] == ["x"]
    assert_same_values(source, proto.SerializeToString(), rng)


def test_load_inlines_functions(tmp_path, rng):
    """Model-local functions are gone, also one that calls another, and the values are the same."""
    text = f"""{IMAGE} (float[N, 8, 8, 8] y) {{
        {CONV_NORM}
        y = local.twice (normed)
    }}
    <domain: "local", opset_import: ["" : 13, "local" : 1]>
    silu (v) => (w) {{ s = Sigmoid (v) w = Mul (v, s) }}
    <domain: "local", opset_import: ["" : 13, "local" : 1]>
    twice (v) => (w) {{ u = local.silu (v) w = local.silu (u) }}
    """
    proto = nets.model(text, domains=["local"], **nets.weights())
    source = load(proto, tmp_path)
    assert not source.model.functions
    assert set(source.model.opset_imports) == {""}
    assert operators(source.model).count("Sigmoid") == 2
    assert_same_values(source, proto.SerializeToString(), rng)


def test_simplify_that_fails(monkeypatch, caplog):
    """A failure of the simplifier is logged, and the model is used as it is."""

    def fail(*arguments, **options):
        raise RuntimeError("no luck\nat all")

    monkeypatch.setattr("onnxsim.simplify", fail)
    model = nets.detector()
    with caplog.at_level(logging.WARNING):
        assert upgrade.simplify(model) is model
    assert "onnxsim failed, the model is used unsimplified: no luck" in caplog.text


def test_simplify_that_loses_batch_norm(monkeypatch, caplog):
    """A simplified model with less BatchNorm is not used."""
    stripped = nets.detector()
    del stripped.graph.node[1:]
    monkeypatch.setattr("onnxsim.simplify", lambda *_, **__: (stripped, True))
    model = nets.detector()
    with caplog.at_level(logging.WARNING):
        assert upgrade.simplify(model) is model
    assert "onnxsim left 0 of 1 BatchNormalization" in caplog.text


@pytest.mark.parametrize("coordinates", [False, True])
def test_load_sparse_tensors(coordinates, tmp_path, rng):
    """Sparse initializers and Constants, by position or by coordinates, are written out."""
    weight = rng.normal(size=(8, 3, 3, 3)).astype(np.float32)
    weight[rng.uniform(size=weight.shape) < 0.7] = 0
    offset = np.array([0, 2, 0, 0, 0, 0, -1, 0], np.float32)
    body = "shifted = Conv <pads = [1, 1, 1, 1]> (x, pruned, offset)"
    text = f"{IMAGE} (float[N, 8, 8, 8] y) {{ {body} y = Relu (shifted) }}"
    plain = nets.model(text, pruned=weight, offset=offset)
    assert upgrade.dense(plain) is plain

    def sparse(array, name):
        where = np.argwhere(array)
        if not coordinates:
            where = np.flatnonzero(array)
        values = numpy_helper.from_array(array[array != 0], name)
        return helper.make_sparse_tensor(
            values, numpy_helper.from_array(where.astype(np.int64), f"{name}_at"), array.shape
        )

    proto = nets.model(text)
    proto.graph.sparse_initializer.append(sparse(weight, "pruned"))
    node = helper.make_node("Constant", [], ["offset"], sparse_value=sparse(offset, "value"))
    proto.graph.node.insert(0, node)
    assert_same_values(load(proto, tmp_path), plain.SerializeToString(), rng)
    proto.graph.sparse_initializer[0].dims[0] = 2
    with pytest.raises(ModelError, match="the sparse tensor 'pruned' contradicts itself"):
        upgrade.dense(proto)
