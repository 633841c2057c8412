"""Appending nodes: names, constants and shapes."""

import numpy as np
import onnx_ir as ir
import pytest

from tests.passes.helpers import build_model
from zqc.autodiff.emitter import Emitter, dims
from zqc.errors import InputShapeError


@pytest.fixture
def model():
    """One node on a tensor of two channels and an open batch."""
    return build_model("(float[N,2,1,3] x) => (float[N,2,1,3] y) { y = Relu(x) }")


def test_a_node_is_appended_with_names_type_and_shape(model):
    """The result of elementwise operators has the broadcast shape; a number is a float scalar."""
    emitter, y = Emitter(model.graph), model.graph.outputs[0]
    product = emitter.op("Mul", [y, 2.0], {}, "y")
    assert product.producer() is model.graph[-1]
    assert (product.name, product.dtype) == ("y_Mul", ir.DataType.FLOAT)
    assert [str(size) for size in dims(product)] == ["N", "2", "1", "3"]
    assert emitter.op("Mul", [y, 2.0], {}, "y").name != product.name
    assert emitter.op("Greater", [y, 0.0], {}, "y").dtype is ir.DataType.BOOL


def test_equal_constants_are_one(model):
    """Numbers, lists and arrays of the same type, shape and bits share an initializer."""
    emitter, y = Emitter(model.graph), model.graph.outputs[0]
    for _ in range(3):
        emitter.op("ReduceSum", [y, [1, 2]], {}, "y")
    assert len(model.graph.initializers) == 1
    assert emitter.array(np.float32([1]), "a") is emitter.array(np.float32([1]), "b")
    assert emitter.array(np.float32([1]), "a") is not emitter.array(np.int64([1]), "a")


def test_constants_are_computed_at_once(model):
    """No node comes of it, and what nothing reads is no initializer."""
    emitter = Emitter(model.graph)
    before = len(model.graph)
    three = emitter.op("Add", [1.0, 2.0], {}, "three")
    assert len(model.graph) == before
    assert not model.graph.initializers
    assert three.const_value.numpy() == 3
    emitter.op("Mul", [model.graph.outputs[0], three], {}, "y")
    assert list(model.graph.initializers.values()) == [three]


@pytest.mark.parametrize(("opset", "inputs"), [(17, 1), (18, 2)])
def test_the_axes_of_a_mean(opset, inputs):
    """They are an attribute until opset 17 and an input from 18 on."""
    text = "(float[N,2,1,3] x) => (float[N,2,1,3] y) { y = Relu(x) }"
    model = build_model(text, opset=opset)
    mean = Emitter(model.graph).mean(model.graph.outputs[0], [2, 3], "y")
    assert len(mean.producer().inputs) == inputs
    assert ("axes" in mean.producer().attributes) is (inputs == 1)


def test_a_name_costs_a_copy_only_where_there_is_one_already(model):
    """What was emitted is renamed once; what has a name of its own gets an Identity."""
    emitter, y = Emitter(model.graph), model.graph.outputs[0]
    product = emitter.op("Mul", [y, 2.0], {}, "y")
    assert emitter.named(product, "loss") is product
    assert product.name == "loss"
    copy = emitter.named(y, "copy")
    assert copy.producer().op_type == "Identity"
    assert (copy.name, copy.shape, y.name) == ("copy", y.shape, "y")


def test_an_unknown_rank_is_an_error():
    """Nothing is guessed where no shape was inferred."""
    with pytest.raises(InputShapeError, match="dimensions of x is unknown"):
        dims(ir.val("x"))
