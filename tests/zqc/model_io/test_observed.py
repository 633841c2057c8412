"""Shapes that onnx cannot infer are learned from a run."""

import time

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from tests import nets
from tests.zqc.model_io.helpers import CONV_NORM, IMAGE, load
from zqc.model_io import observed
from zqc.runtime import session

LAST = "z = {} w = Conv (z, last) y = Relu (w)"
BODIES = {
    "com.microsoft": "com.microsoft.QuickGelu <alpha = 1.0> (normed)",
    "GroupNormalization": "GroupNormalization <num_groups = 4> (normed, scale, bias)",
    "If": """If (positive) <
        then_branch = yes () => (float[a, b, c, d] p) { p = Neg (normed) },
        else_branch = no () => (float[a, b, c, d] q) { q = com.microsoft.QuickGelu (normed) }
    >""",
}


def network(body, batch="N"):
    """A Conv behind an operator of which onnx knows nothing."""
    image = IMAGE.replace("[N,", f"[{batch},")
    text = f"""{image} (float[{batch}, 4, 8, 8] y) {{
        {CONV_NORM}
        most = ReduceMax <keepdims = 0> (normed) positive = Greater (most, none)
        {LAST.format(body)}
    }}"""
    arrays = {"none": np.float32(0), "last": np.ones((4, 8, 1, 1), np.float32)}
    return nets.model(text, opset=21, domains=["com.microsoft"], **arrays, **nets.weights())


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("batch", ["N", "1"])
def test_unknown_shapes_are_observed(kind, batch, tmp_path):
    """Type and shape are known behind the operator, with the batch by its name where it is open."""
    model = load(network(BODIES[kind], batch), tmp_path).model
    found = {value.name: value for node in model.graph for value in node.outputs}
    first = batch if batch == "N" else 1
    for name, channels in (("z", 8), ("w", 4)):
        assert found[name].dtype is ir.DataType.FLOAT
        assert list(found[name].shape) == [first, channels, 8, 8]


def test_nothing_is_run_where_all_is_known(tmp_path, monkeypatch):
    """A plain network is not run."""
    monkeypatch.setattr(session, "load", None)
    load(nets.detector(), tmp_path)


def test_what_depends_on_the_picture_stays_open(tmp_path):
    """The number of elements that one picture has is not that of others."""
    body = """Identity (normed) flat = Reshape (z, one) places = NonZero (flat)
    rows = Reshape (places, column) numbers = Cast <to = 1> (rows) best = MatMul (numbers, matrix)
    offset = ReduceMax <keepdims = 0> (best) z2 = Add (z, offset)"""
    arrays = {
        "one": np.array([-1]),
        "column": np.array([-1, 1]),
        "matrix": np.ones((1, 4), np.float32),
    }
    proto = network(body)
    proto.graph.initializer.extend(nets.model(f"{IMAGE} () {{}}", **arrays).graph.initializer)
    proto.graph.node[-2].input[0] = "z2"
    model = load(proto, tmp_path).model
    found = {value.name: value for node in model.graph for value in node.outputs}
    assert not found["best"].shape.is_static()


def test_a_loop_without_end_is_broken_off(tmp_path, monkeypatch):
    """Loading goes on without what a run does not show in time."""
    monkeypatch.setattr(observed, "_SECONDS", 0.2)
    body = """Loop (many, , normed) <body = round
        (int64 i, bool go, float[a, b, c, d] was) => (bool on, float[e, f, g, h] now) {
            on = Identity (go) now = com.microsoft.QuickGelu (was)
        }>"""
    proto = network(body)
    rounds = nets.model(f"{IMAGE} () {{}}", rounds=np.array(2**20)).graph.initializer
    proto.graph.initializer.extend(rounds)
    proto.graph.node.insert(0, helper.make_node("Mul", ["rounds", "rounds"], ["many"]))
    started = time.monotonic()
    load(proto, tmp_path)
    assert time.monotonic() - started < 5
