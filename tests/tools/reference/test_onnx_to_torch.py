"""The example detector in PyTorch."""

import numpy as np
import onnx_ir as ir
import pytest
import torch

from tests.passes.helpers import build_model
from tools.paths import DETECTOR
from tools.reference.onnx_to_torch import TorchTwin
from zqc.model_io import model_file
from zqc.runtime import session


def test_the_twin_computes_what_the_model_computes(rng):
    """All outputs of the example, at 1e-4 of the largest value."""
    model = model_file.load(DETECTOR).model
    (image,) = model.graph.inputs
    x = rng.uniform(0, 1, (1, *image.shape[1:])).astype(np.float32)
    expected = session.load(model, threads=1)({image.name: x})
    found = TorchTwin(model)({image.name: torch.from_numpy(x)}, keep=list(expected))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        largest = np.abs(value).max()
        np.testing.assert_allclose(found[name].numpy(), value, rtol=0, atol=1e-4 * largest)


def test_an_unknown_operator_is_an_error():
    """It is named; nothing is guessed."""
    x = ir.val("x", ir.DataType.FLOAT, [1])
    node = ir.node("Riddle", [x])
    graph = ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 17})
    with pytest.raises(NotImplementedError, match="Riddle"):
        TorchTwin(ir.Model(graph, ir_version=8))


def test_no_gradient_goes_through_detached_nodes():
    """x·y with y = x + 1 detached has the slope y."""
    model = build_model(
        "(float[3] x) => (float[3] z) { y = Add(x, one)\n z = Mul(x, y) }", one=np.float32(1)
    )
    (node,) = (n for n in model.graph if n.op_type == "Add")
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    TorchTwin(model, detached=[node.name])({"x": x})["z"].sum().backward()
    assert x.grad.tolist() == [2.0, 3.0, 4.0]
