"""The facts about operators hold of onnx's own definitions of them."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from passes import operators

SETS = {name: value for name, value in vars(operators).items() if isinstance(value, frozenset)}

POINTS = np.concatenate([np.linspace(-6, 6, 97), [-0.01, 0.0, 0.01, 40.0]]).astype(np.float32)
PARAMETERS = {"PRelu": [np.array([0.2], np.float32)]}
# What the reference evaluator of onnx does not know, from the definition.
OWN = {"Mish": lambda x: x * np.tanh(np.log1p(np.exp(x)))}


def values(op_type, x):
    """What an operator of one tensor gives."""
    if op_type in OWN:
        return OWN[op_type](x)
    more = PARAMETERS.get(op_type, [])
    names = ["x", *(f"p{i}" for i in range(len(more)))]
    node = onnx.helper.make_node(op_type, names, ["y"])
    kinds = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names]
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([node], "g", kinds, [result])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 24)])
    feeds = dict(zip(names, [x, *more], strict=True))
    return ReferenceEvaluator(model).run(None, feeds)[0]


@pytest.mark.parametrize("name", SETS)
def test_every_operator_exists(name):
    """A misspelt operator would never be met, and nobody would notice."""
    for op_type in SETS[name]:
        assert onnx.defs.has(op_type), op_type


@pytest.mark.parametrize("op_type", sorted(operators.ACTIVATIONS))
def test_slightly_negative_functions(op_type):
    """They reach below zero, but by less than a quarter of how far they reach above it."""
    y = values(op_type, np.linspace(-8, 8, 161).astype(np.float32))
    assert (op_type in operators.SLIGHTLY_NEGATIVE) == bool(y.min() < 0 < -4 * y.min() < y.max())


@pytest.mark.parametrize("op_type", sorted(operators.NONNEGATIVE - {"Sqrt"}))
def test_nonnegative_functions(op_type):
    """Nothing below zero comes out of them."""
    assert values(op_type, POINTS[None]).min() >= 0


@pytest.mark.parametrize("op_type", sorted(operators.UP_TO_ONE))
def test_functions_up_to_one(op_type):
    """Nothing above one comes out of them, and one is nearly reached."""
    assert 0.99 < values(op_type, POINTS[None]).max() <= 1


@pytest.mark.parametrize("op_type", sorted(operators.ACTIVATIONS | {"Abs", "Relu"}))
def test_homogeneous_functions(op_type):
    """f(3x) = 3 f(x), to 1e-6, exactly where the sets say so."""
    y, tripled = values(op_type, POINTS), values(op_type, 3 * POINTS)
    homogeneous = np.allclose(tripled, 3 * y, rtol=1e-6)
    assert homogeneous == (op_type in operators.HOMOGENEOUS | {"PRelu"})
    if op_type in operators.NOT_HOMOGENEOUS:
        assert not homogeneous


@pytest.mark.parametrize("op_type", sorted(operators.ACTIVATIONS - {"LeakyRelu", "PRelu"}))
def test_factors_begin_behind_what_has_no_bound(op_type):
    """A function up to one has its own grid; behind all others a factor can begin."""
    bounded = values(op_type, np.array([40.0], np.float32))[0] <= 1
    assert (op_type in operators.NOT_HOMOGENEOUS) == (not bounded)
