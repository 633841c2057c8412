"""What errors of tensors count, and the loss that is made of them."""

import numpy as np
import pytest

from tests.passes.helpers import build_model, run_model
from zqc.autodiff.emitter import Emitter
from zqc.tuning.distillation import beside, importance, loss

NETWORK = """(float[2,3,4,4] x) => (float[2,2,4,4] y, float[2,3,4,4] idle) {
    a = Relu(x)
    b = Conv(a, w)
    y = Sigmoid(b)
    idle = Abs(x)
}"""


def network():
    """A network in which one tensor matters to nothing, and one channel not at all."""
    weight = np.random.default_rng(0).normal(size=(2, 3, 1, 1)).astype(np.float32)
    weight[:, 1] = 0
    return build_model(NETWORK, w=weight)


def test_a_channel_counts_by_the_root_of_what_the_outputs_lose_and_of_its_share():
    """A channel that the layer behind ignores does not count, the others do."""
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 4)).astype(np.float32)
    found = importance(network(), ["a"], ["b"], [x], seed=0, threads=1)
    assert found.weights["a"][1] == 0
    assert np.all(found.weights["a"][[0, 2]] > 0)
    assert found.deviations["a"] == pytest.approx(np.maximum(x, 0).std(), rel=1e-5)
    assert set(found.deviations) == {"a", "b"}


def test_without_the_fisher_diagonal_a_tensor_counts_by_its_variance():
    """Every channel alike, whether or not the layer behind listens to it: 1/v."""
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 4)).astype(np.float32)
    found = importance(network(), ["a"], [], [x], fisher=False, seed=0, threads=1)
    np.testing.assert_allclose(found.weights["a"], [1 / np.maximum(x, 0).var()], rtol=1e-5)


def test_both_models_run_on_the_same_input():
    """A float model beside another one computes what it computes alone; names do not collide."""
    other, teacher = network(), network()
    found = beside(other.graph, teacher, ["b"])
    other.graph.outputs.append(found["b"])
    x = np.random.default_rng(2).normal(size=(2, 3, 4, 4)).astype(np.float32)
    got = run_model(other, x=x)
    np.testing.assert_allclose(1 / (1 + np.exp(-got["float/b"])), got["y"], atol=1e-6)


def test_the_loss_is_the_weighted_mean_of_squares():
    """Σ over tensors of the mean over all values of w_c·e²: compared with numpy to 1e-6."""
    model, teacher = network(), network()
    weights = {"a": np.array([1.0, 2.0, 0.5]), "b": np.array([3.0])}
    values = {v.name: v for node in model.graph for v in node.outputs}
    emitter = Emitter(model.graph)
    half = emitter.op("Mul", [values["a"], 0.5], {}, "half")
    teachers = beside(model.graph, teacher, list(weights))
    total = loss(emitter, {"a": half, "b": values["b"]}, teachers, weights)
    model.graph.outputs[:] = [total]
    x = np.random.default_rng(2).normal(size=(2, 3, 4, 4)).astype(np.float32)
    squares = np.square(np.maximum(x, 0) / 2) * weights["a"].reshape(1, 3, 1, 1)
    (got,) = run_model(model, x=x).values()
    assert float(got) == pytest.approx(squares.mean(), rel=1e-6)
