"""Each rule that keeps a node in float, on a graph in which ONNX Runtime really obeys it."""

import numpy as np
import pytest

from passes import QuantizeActivations, QuantizeWeights, UnsignedActivations
from passes.arithmetic import Grid
from passes.graph import constant
from tests.passes.helpers import build_model
from zqc.runtime import session
from zqc.runtime.float_rules import label, rule_of

IN = "(float[1,4,8,8] x) => (float[n,c,h,w] y)"
CASES = {
    "no kernel": (
        "a = Conv(x, w) [it] b = Softplus(a) y = Conv(b, w)",
        "xaby",
        "ONNX Runtime has no integer kernel for Softplus",
    ),
    "strides of a ConvTranspose": (
        "a = Conv(x, w) [it] b = ConvTranspose<strides=[2,1]>(a, w) y = Conv(b, w)",
        "xaby",
        "ONNX Runtime has no integer kernel for ConvTranspose, and no Conv can stand for it: "
        "its strides differ",
    ),
    "a float input": (
        "a = Conv(x, w) b = Softplus(a) [it] y = Conv(b, w)",
        "xay",
        "its input is float, from Softplus",
    ),
    "the model's input": ("[it] a = Conv(x, w) y = Conv(a, w)", "ay", "its input x is float"),
    "two types": (
        "a = Conv(x, w) [it] b = Add(a, c) y = Conv(b, w)",
        "xaby",
        "it mixes uint8 and int8",  # ONNX Runtime itself makes activations uint8 on x86
    ),
    "a float constant": (
        "a = Conv(x, w) d = Identity(c) e = Softplus(d) [it] b = Add(a, e) y = Conv(b, w)",
        "xaby",
        "its constant e is float",
    ),
    "a float reader": (
        "[it] a = Conv(x, w) b = Softplus(a) y = Conv(b, w)",
        "xby",
        "its result is read in float by Softplus",
    ),
    "an output": (
        "a = Conv(x, w) [it] y = Conv(a, w)",
        "xa",
        "its result is an output of the model",
    ),
    "an activation": (
        "[it] a = Conv(x, w) b = Relu(a) y = Conv(b, w)",
        "xby",
        "the grid behind it does not absorb its Relu",
    ),
    "two scales": (
        "a = Conv(x, w) [it] b = MaxPool<kernel_shape=[3,3]>(a) y = Conv(b, w)",
        "xaBy",
        "the scales before and behind it differ",
    ),
    "an interpolation": (
        """a = Conv(x, w) f = Constant<value_floats=[1.0,1.0,2.0,2.0]>()
        [it] b = Resize<mode="linear">(a, , f) y = Conv(b, w)""",
        "xaby",
        "ONNX Runtime resizes integers only in mode nearest",
    ),
}


def executed(text, grids, bits=8):
    """What ONNX Runtime makes of a net with grids on some tensors, a coarser one on capitals."""
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.normal(size=(4, 4, 1, 1)).astype(np.float32),
        "c": rng.normal(size=(1, 4, 1, 1)).astype(np.float32),
    }
    used = {name: array for name, array in arrays.items() if f"{name})" in text}
    model = build_model(f"{IN} {{ {text} }}", **used)
    QuantizeActivations({n.lower(): Grid(2 + n.isupper(), 8, signed=True) for n in grids})(model)
    QuantizeWeights(bits, first_last_bits=bits)(model)
    return model


def found(model):
    """The node in question."""
    return next(node for node in session.executed_graph(model).graph if node.name == "it")


@pytest.mark.parametrize(("text", "grids", "rule"), CASES.values(), ids=CASES)
def test_rules(text, grids, rule):
    """The node is in float, and the rule is the one that the net breaks."""
    node = found(executed(text, grids))
    assert not node.op_type.startswith("QLinear")
    assert rule_of(node) == rule


def test_the_scale_of_the_bias():
    """A bias on another scale than the products keeps a layer in float."""
    rng = np.random.default_rng(0)
    model = build_model(
        f"{IN} {{ [it] a = Conv(x, w, b) y = Conv(a, w) }}",
        w=rng.normal(size=(4, 4, 1, 1)).astype(np.float32),
        b=rng.normal(size=4).astype(np.float32),
    )
    QuantizeActivations({name: Grid(2, 8, signed=True) for name in "xay"})(model)
    QuantizeWeights()(model)
    scale = next(n for n in model.graph if n.name == "it").inputs[2].producer().inputs[1]
    scale.const_value = type(scale.const_value)(constant(scale) * 2, name=scale.name)
    assert rule_of(found(model)) == "the scale of its bias is not that of its products"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("s = Sigmoid(a) m = Mul(a, s) y = Conv(m, w)", "it mixes uint8 and int8"),
        ("s = Sigmoid(a) m = Mul(a, s) n = Mul(m, x) y = Conv(n, w)", "x86 kernels take int8"),
    ],
)
def test_signed_tensors_with_two_readers(text, rule):
    """What the rule for ARM allows, x86 does not: it makes those with one reader uint8."""
    names = "xasmny" if "n = " in text else "xasmy"
    node = found(executed(f"[it] a = Conv(x, w) {text}", names))
    assert not node.op_type.startswith("QLinear")
    assert rule_of(node).startswith(rule)


def test_int4_weights():
    """Weights in INT4 without a Cast have no kernel."""
    model = executed("[it] a = Conv(x, w) y = Conv(a, w)", "xay", bits=4)
    assert rule_of(found(model)) == "its weights are int4, for which there is no kernel"


def test_what_no_rule_explains():
    """A layer that keeps every rule, or is gone, gets no wrong reason."""
    model = executed("[it] a = Conv(x, w) y = Conv(a, w)", "xay")
    UnsignedActivations()(model)
    node = next(n for n in model.graph if n.name == "it")
    assert rule_of(node) == "ONNX Runtime did not fuse it, by no rule that zqc knows"
    assert rule_of(None) == "ONNX Runtime made other operators of it"


def test_labels():
    """A node without a name is called after its result."""
    model = executed("[it] a = Conv(x, w) y = Conv(a, w)", "xay")
    assert label(next(n for n in model.graph if n.name == "it")) == "it"
    model.graph.node(0).name = ""
    assert label(model.graph.node(0)) == model.graph.node(0).outputs[0].name
