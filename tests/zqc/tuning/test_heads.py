"""Distillation over the heads."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch.nn import functional

from passes import ScaleOutputs
from tests.passes.helpers import build_model
from zqc.autodiff.emitter import Emitter
from zqc.autodiff.engine import gradient
from zqc.runtime import session
from zqc.tuning.heads import TEMPERATURE, head_divergence, head_tensors

SHAPES = ((2, 3, 4, 4), (2, 5, 2, 2))


def inputs(side):
    """Two heads of a model, as inputs."""
    return [
        ir.Value(name=f"{side}{i}", shape=ir.Shape(s), type=ir.TensorType(ir.DataType.FLOAT))
        for i, s in enumerate(SHAPES)
    ]


def test_divergence_and_slopes_are_those_of_pytorch(rng):
    """τ² KL of all that a head says of a picture, summed over heads and pictures."""
    students, teachers = inputs("student"), inputs("teacher")
    graph = ir.Graph([*students, *teachers], [], nodes=[], opset_imports={"": 17}, name="g")
    model = ir.Model(graph, ir_version=10)
    sides = [dict(zip("ab", side, strict=True)) for side in (students, teachers)]
    loss = head_divergence(Emitter(graph), *sides, ["a", "b"])
    slopes = gradient(model, loss, students)
    graph.outputs[:] = [loss, *slopes]
    feeds = {v.name: rng.normal(0, 3, v.shape.numpy()).astype(np.float32) for v in graph.inputs}
    got = list(session.load(model, threads=1)(feeds).values())
    leaves = [torch.tensor(feeds[v.name], requires_grad=True) for v in students]
    total = sum(
        functional.kl_div(
            functional.log_softmax(leaf.flatten(1) / TEMPERATURE, -1),
            functional.softmax(torch.tensor(feeds[v.name]).flatten(1) / TEMPERATURE, -1),
            reduction="sum",
        )
        * TEMPERATURE**2
        for leaf, v in zip(leaves, teachers, strict=True)
    )
    total.backward()
    assert float(got[0]) == pytest.approx(float(total.detach()), rel=1e-5)
    for slope, leaf in zip(got[1:], leaves, strict=True):
        np.testing.assert_allclose(slope, leaf.grad.numpy(), atol=1e-5)


def test_heads_are_what_the_last_layers_put_out_in_its_unit(rng):
    """Behind a layer whose channels are scaled, what undoes it."""
    model = build_model(
        """(float[1,2,4,4] x) => (float[1,3,4,4] y) {
            a = Conv(x, w)
            b = Relu(a)
            c = Conv(b, v)
            y = Sigmoid(c)
        }""",
        w=rng.normal(size=(2, 2, 1, 1)).astype(np.float32),
        v=rng.normal(size=(3, 2, 1, 1)).astype(np.float32),
    )
    assert head_tensors(model.graph) == ["c"]
    ScaleOutputs({"c": np.array([1.0, 8.0, 1.0])})(model)
    assert [node.op_type for node in model.graph].count("Mul") == 1
    assert head_tensors(model.graph) == ["c"]
    (node,) = (node for node in model.graph if node.outputs[0].name == "c")
    assert node.op_type == "Mul"
