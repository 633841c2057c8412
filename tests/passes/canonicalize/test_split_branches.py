"""The branches of a detection head go their own ways again."""

import numpy as np
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from passes import SplitBranches
from passes.analysis.quantization_points import quantization_points

CONSTANTS = {
    "sizes": np.array([4, 2]),
    "other": np.array([3, 3]),
    "flat": np.array([0, 0, -1]),
    "known": np.array([1, 6, -1]),
    "free": np.array([0, -1, 16]),
    "mixing": np.array([1, 12, 8]),
    "thirds": np.array([4, 4, 4]),
    "halves": np.array([2, 2]),
}
INPUTS = "float[1,4,4,4] b1, float[1,2,4,4] c1, float[1,4,2,2] b2, float[1,2,2,2] c2"
HEAD = """
    s1 = Concat<axis=1>(b1, c1)
    s2 = Concat<axis={axis}>(b2, c2)
    f1 = Reshape(s1, {shape})
    f2 = Reshape(s2, flat)
    all = Concat<axis=2>(f1, f2)
    boxes, classes = Split<axis={late_axis}>(all, sizes)
    y = Tanh(boxes)
    z = Sigmoid(classes)
"""


def model_of(build, body, *, inputs=INPUTS, outputs="float[n,c,m] y, float[n,d,m] z"):
    """A graph with the constants that the body reads."""
    read = set(body.replace(")", " ").replace(",", " ").split())
    constants = {name: value for name, value in CONSTANTS.items() if name in read}
    return build(f"({inputs}) => ({outputs}) {{ {body} }}", **constants)


def check(build, run, rng, body, **options):
    """Split the branches, compare every output bit for bit, and return the model."""
    model = model_of(build, body, **options)
    feeds = {
        value.name: rng.normal(size=tuple(value.shape)).astype(np.float32)
        for value in model.graph.inputs
    }
    before = run(model, **feeds)
    assert SplitBranches()(model).modified
    RemoveUnusedNodesPass()(model)
    ShapeInferencePass()(model)
    after = run(model, **feeds)
    assert list(after) == list(before)
    for name, expected in before.items():
        np.testing.assert_array_equal(after[name], expected)
    return model


@pytest.mark.parametrize(("axis", "late_axis"), [(1, 1), (-3, -2)])
@pytest.mark.parametrize("shape", ["flat", "known"])
def test_the_head_of_yolo_is_split(build, run, operators, rng, axis, late_axis, shape):
    """Box and class branches are flattened and joined apart, with equal values."""
    body = HEAD.format(axis=axis, late_axis=late_axis, shape=shape)
    model = check(build, run, rng, body)
    expected = ["Concat"] * 2 + ["Reshape"] * 4 + ["Sigmoid", "Tanh"]
    assert sorted(operators(model)) == expected
    joins = [node for node in model.graph if node.op_type == "Concat"]
    assert sorted(tuple(node.outputs[0].shape) for node in joins) == [(1, 2, 20), (1, 4, 20)]


def test_parts_that_are_outputs_keep_their_names(build, run, operators, rng):
    """A part that is a graph output, or a graph input, passes an Identity."""
    model = check(
        build,
        run,
        rng,
        "a = Concat<axis=1>(b1, c1) y, z = Split<axis=1>(a, sizes)",
        inputs="float[1,4,4] b1, float[1,2,4] c1",
    )
    assert operators(model) == ["Identity", "Identity"]


def test_a_part_of_several_inputs(build, run, operators, rng):
    """Inputs of the Concat that together make up a part are joined."""
    body = "a = Concat<axis=1>(c1, c2, c3) b, c = Split<axis=1>(a, sizes) y = Tanh(b) z = Tanh(c)"
    inputs = "float[1,2,4] c1, float[1,2,4] c2, float[1,2,4] c3"
    model = check(build, run, rng, body, inputs=inputs)
    assert sorted(operators(model)) == ["Concat", "Identity", "Tanh", "Tanh"]


def test_somebody_else_may_read_the_whole(build, run, operators, rng):
    """The Concat stays for another reader, whose values stay, too."""
    body = HEAD.format(axis=1, late_axis=1, shape="flat") + " w = Neg(all)"
    outputs = "float[n,c,m] y, float[n,d,m] z, float[n,e,m] w"
    model = check(build, run, rng, body, outputs=outputs)
    assert "Split" not in operators(model)


DECLINED = {
    "parts across inputs": """a = Concat<axis=1>(b1, c1) b, c = Split<axis=1>(a, other)
        y = Tanh(b) z = Tanh(c)""",
    "another operator": """a = Concat<axis=1>(b1, c1) t = Tanh(a) b, c = Split<axis=1>(t, sizes)
        y = Tanh(b) z = Tanh(c)""",
    "a size that is worked out": """a = Concat<axis=1>(b1, c1) f = Reshape(a, free)
        b, c = Split<axis=1>(f, sizes) y = Tanh(b) z = Tanh(c)""",
    "a Reshape that mixes": """a = Concat<axis=1>(b1, c1) f = Reshape(a, mixing)
        b, c, d = Split<axis=1>(f, thirds) y = Tanh(b) e = Tanh(c) z = Add(e, d)""",
    "an input of the graph": "b, c = Split<axis=0>(b1, halves) y = Tanh(b) z = Tanh(c)",
}


@pytest.mark.parametrize("body", DECLINED.values(), ids=DECLINED.keys())
def test_declines(build, operators, body):
    """Whatever would have to be split itself leaves the Split where it is."""
    rank = "n,c,m" if "Reshape" in body else "n,c,h,w"
    inputs = "float[4,4,4,4] b1" if "axis=0" in body else INPUTS
    model = model_of(build, body, inputs=inputs, outputs=f"float[{rank}] y, float[{rank}] z")
    before = operators(model)
    assert not SplitBranches()(model).modified
    assert operators(model) == before


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("declared", "first"),
    [("{batch}", "{batch}"), ("{batch}", "0"), ("{batch}", "-1"), ("N", "0"), ("N", "-1")],
)
def test_boxes_and_classes_get_grids_of_their_own(build, run, rng, batch, declared, first):
    """For a fixed and an open batch, of one picture or three: equal outputs, other grids."""
    size, leading = declared.format(batch=batch), int(first.format(batch=batch))
    model = build(
        f"""(float[{size},3,4,4] x) => (float[n,4,m] boxes, float[n,2,m] scores) {{
            near = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
            b1 = Conv(x, box_weight)
            c1 = Conv(x, class_weight)
            b2 = Conv(near, box_weight)
            c2 = Conv(near, class_weight)
            s1 = Concat<axis=1>(b1, c1)
            s2 = Concat<axis=1>(b2, c2)
            f1 = Reshape(s1, shape1)
            f2 = Reshape(s2, shape2)
            all = Concat<axis=2>(f1, f2)
            logits, classes = Split<axis=1>(all, sizes)
            boxes = Relu(logits)
            scores = Sigmoid(classes)
        }}""",
        box_weight=rng.normal(size=(4, 3, 1, 1)).astype(np.float32),
        class_weight=rng.normal(size=(2, 3, 1, 1)).astype(np.float32),
        shape1=np.array([leading, 6, 16]),
        shape2=np.array([leading, 6, 4]),
        sizes=CONSTANTS["sizes"],
    )
    x = rng.normal(size=(batch, 3, 4, 4)).astype(np.float32)
    before = run(model, x=x)
    assert SplitBranches()(model).modified
    RemoveUnusedNodesPass()(model)
    ShapeInferencePass()(model)
    assert "Split" not in [node.op_type for node in model.graph]
    after = run(model, x=x)
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)
    assert {p.names for p in quantization_points(model.graph)} == {
        ("x", "near"),
        *((name,) for name in ("b1", "c1", "b2", "c2")),
    }


def test_unknown_sizes_are_declined(build, operators):
    """With channels that only the picture decides, nothing is known to fit."""
    model = build(
        """(float[1,p,4] b1, float[1,q,4] c1) => (float[1,a,4] y, float[1,b,4] z) {
            a = Concat<axis=1>(b1, c1)
            b, c = Split<axis=1>(a, sizes)
            y = Tanh(b)
            z = Tanh(c)
        }""",
        sizes=CONSTANTS["sizes"],
    )
    assert not SplitBranches()(model).modified
    assert "Split" in operators(model)
