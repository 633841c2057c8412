"""Small questions and edits on a graph."""

import numpy as np
import onnx_ir as ir
import pytest

from passes.graph import (
    Namer,
    add_initializer,
    channels,
    constant,
    float_attribute,
    int_attribute,
    ints,
    is_float,
    rank,
    remove_unused,
    replace,
    scalar,
    sole_consumer,
)
from tests.passes.helpers import build_model, operator_types

NET = """(float[1,2,4,4] x, float[1] k, int64[2] n) => (float[1,2,4,4] y, float[1,2,4,4] z)
<float one = {1.0}, float[2] two = {1.0, 2.0}> {
    a = Relu(x)
    y = Add(a, one)
    b = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(y)
    z = Add(b, b)
}"""


@pytest.fixture
def model(build):
    """A graph with a value of every kind."""
    return build(NET)


def values_of(model):
    """All values by name."""
    found = {v.name: v for v in (*model.graph.inputs, *model.graph.initializers.values())}
    return found | {v.name: v for node in model.graph for v in node.outputs}


def test_constant_is_an_initializer_only(model):
    """An input, a computed value and nothing are no constants, even with a default value."""
    values = values_of(model)
    np.testing.assert_array_equal(constant(values["two"]), [1, 2])
    values["k"].const_value = ir.tensor(np.ones(1, np.float32))
    assert [constant(values[name]) for name in ("k", "a")] == [None, None]
    assert constant(None) is None


def test_scalar_has_one_element(model):
    """A constant of two elements has no number."""
    values = values_of(model)
    assert scalar(values["one"]) == 1.0
    assert scalar(values["two"]) is None
    assert scalar(values["a"]) is None


def test_types_and_shapes(model):
    """Rank and channels come from the shape, and are unknown without one."""
    values = values_of(model)
    assert is_float(values["x"])
    assert not is_float(values["n"])
    assert (rank(values["x"]), channels(values["x"])) == (4, 2)
    assert (rank(values["k"]), channels(values["k"])) == (1, None)
    values["a"].shape = ir.Shape([1, "c", 4, 4])
    assert channels(values["a"]) is None
    values["a"].shape = None
    assert (rank(values["a"]), channels(values["a"])) == (None, None)


def test_sole_consumer_counts_reads_and_outputs(model):
    """A value that is read twice by one node, or is a graph output, has no sole consumer."""
    values = values_of(model)
    assert sole_consumer(values["a"]) is values["y"].producer()
    assert sole_consumer(values["y"]) is None
    assert sole_consumer(values["b"]) is None
    assert sole_consumer(values["z"]) is None


def test_attributes_have_defaults(model):
    """An attribute that is absent gives the default, one that is there its value."""
    pool = values_of(model)["b"].producer()
    assert ints(pool, "kernel_shape", ()) == (3, 3)
    assert ints(pool, "strides", (1, 1)) == (1, 1)
    assert int_attribute(pool, "ceil_mode", 7) == 7
    assert float_attribute(pool, "alpha", 0.25) == 0.25


def test_names_are_unique(model):
    """Names of inputs, initializers, nodes and values are taken, and so is each new name."""
    name = Namer(model.graph)
    assert [name(base) for base in ("x", "two", "make_y", "b", "new", "new", "new")] == [
        "x_2",
        "two_2",
        "make_y_2",
        "b_2",
        "new",
        "new_2",
        "new_3",
    ]


def test_add_initializer_is_typed(model):
    """A new constant has its type, shape and value."""
    value = add_initializer(model.graph, "c", np.ones((2, 3), np.float32))
    assert model.graph.initializers["c"] is value
    assert (value.dtype, value.shape) == (ir.DataType.FLOAT, (2, 3))
    np.testing.assert_array_equal(constant(value), np.ones((2, 3)))


def test_replace_takes_over_everything(model, run):
    """The new value has the name, type, shape, readers and place among the outputs of the old."""
    old = values_of(model)["y"]
    node = ir.node("Mul", list(old.producer().inputs), name="product")
    model.graph.insert_before(old.producer(), node)
    new = node.outputs[0]
    replace(old, new)
    model.graph.remove(old.producer(), safe=True)
    assert (new.name, new.dtype, new.shape) == ("y", ir.DataType.FLOAT, (1, 2, 4, 4))
    assert model.graph.outputs[0] is new
    x = np.ones((1, 2, 4, 4), np.float32)
    feeds = {"x": x, "k": np.ones(1, np.float32), "n": np.ones(2, np.int64)}
    np.testing.assert_array_equal(run(model, **feeds)["z"], 2 * x)


def test_what_only_a_removed_branch_reads_is_removed(run):
    """Nothing of a dead If keeps what stood before it, and a live one keeps all that it reads."""
    branches = """then_branch = a () => (float[2] t) { t = Neg(READ) },
                  else_branch = b () => (float[2] e) { e = Abs(READ) }"""
    model = build_model(
        f"""(float[2] x, bool c) => (float[2] y) {{
            p = Relu(x) q = Exp(p) r = Tanh(x)
            dead = If(c) <{branches.replace("READ", "q")}>
            y = If(c) <{branches.replace("READ", "r")}>
        }}"""
    )
    remove_unused(model)
    assert operator_types(model) == ["Tanh", "If"]
    copy, x = model.clone(), np.array([1, -2], np.float32)
    np.testing.assert_allclose(run(copy, x=x, c=np.array(True))["y"], -np.tanh(x), rtol=1e-6)


def test_a_sequence_of_floats_is_no_tensor(build):
    """Its pieces are, once they are taken out."""
    model = build(
        """(float[2,4] x, int64 i) => (float[1,4] y) {
            s = SplitToSequence<axis=0>(x)  y = SequenceAt(s, i)
        }"""
    )
    whole, piece = (node.outputs[0] for node in model.graph)
    assert not is_float(whole)
    assert is_float(piece)
