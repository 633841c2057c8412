"""Squared gradients against closed forms of small networks."""

import numpy as np
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from passes import BinsLast, SplitBranches
from passes.arithmetic import MIN_EXPONENT
from passes.graph import with_outputs
from tests.passes.helpers import build_model, run_model
from zqc.calibration.histogram import BINS, Histogram, add, empty
from zqc.calibration.sensitivity import heads, sensitivities, weighted
from zqc.calibration.squared_gradients import Sensitivity

NET = """(float[n,3,4,4] x) => (float[n,k] y) {
    a = Conv(x, w)
    r = Relu(a)
    p = GlobalAveragePool(r)
    f = Flatten(p)
    z = Gemm(f, g)
    y = Sigmoid(z)
}"""


def net(rng, outputs, body=NET):
    """A Conv, a pool and a Gemm with some outputs."""
    model = build_model(
        body,
        w=rng.normal(size=(4, 3, 1, 1)).astype(np.float32),
        g=rng.normal(0, 1, (4, outputs)).astype(np.float32),
    )
    return ShapeInferencePass()(model).model


def matrix(model):
    """The weight of the Gemm."""
    return model.graph.initializers["g"].const_value.numpy().astype(np.float64)


@pytest.fixture
def pictures(rng):
    """Six pictures in batches of uneven size."""
    values = rng.normal(size=(6, 3, 4, 4)).astype(np.float32)
    return [values[:4], values[4:]]


def test_one_output_behind_a_sigmoid(rng, pictures):
    """With a single output no sign matters: g = w·σ'(z)/deviation of the score, to 1e-5."""
    model = net(rng, 1)
    found = sensitivities(model, ["x", "f"], pictures, seed=0, vectors=1, threads=1)
    assert set(found) == {"x", "f", "a", "z"}
    outputs = run_model(model, x=np.concatenate(pictures))
    score = outputs["y"].astype(np.float64)
    slope = score * (1 - score) / score.std()
    np.testing.assert_allclose(found["z"].fisher_diagonal, np.mean(slope**2, axis=0), rtol=1e-5)
    expected = np.mean((slope * matrix(model)[:, 0]) ** 2, axis=0)
    np.testing.assert_allclose(found["f"].fisher_diagonal, expected, rtol=1e-5)
    # The Conv is seen through a ReLU and a mean over 16 positions.
    weight = model.graph.initializers["w"].const_value.numpy()[:, :, 0, 0]
    a = np.einsum("oc,nchw->nohw", weight, np.concatenate(pictures))
    share = (a > 0).sum(axis=(2, 3)) / 16**2
    expected = np.mean((slope * matrix(model)[:, 0]) ** 2 * share, axis=0)
    np.testing.assert_allclose(found["a"].fisher_diagonal, expected, rtol=1e-4)


def test_histograms_hold_the_squares_by_value(rng, pictures):
    """Each bin has the sum of g² of the values in it, and their number; sums give the gains."""
    model = net(rng, 1)
    found = sensitivities(model, ["x", "a"], pictures, seed=0, vectors=3, threads=1)
    for sensitivity in (found["x"], found["a"]):
        total = sensitivity.squares.counts.sum() / (6 * 3)
        assert total == pytest.approx(sensitivity.fisher_diagonal.sum(), rel=1e-6)
        assert sensitivity.squares.exponent == sensitivity.counts.exponent
        assert not np.any(sensitivity.squares.counts[sensitivity.counts.counts == 0])
    expected = add(empty(), np.concatenate(pictures))
    np.testing.assert_array_equal(found["x"].counts.counts, 3 * expected.counts)
    # Where the Conv is negative the ReLU passes no gradient on.
    assert found["a"].squares.counts[: BINS // 2].sum() == 0
    assert found["a"].squares.counts.sum() > 0
    without = sensitivities(model, ["x"], pictures, seed=0, vectors=3, threads=1)["a"]
    np.testing.assert_array_equal(without.fisher_diagonal, found["a"].fisher_diagonal)
    assert not without.counts.counts.any()


def test_many_outputs_add_up(rng, pictures):
    """Over many random signs the squares come to Σ_o (w_o / deviation)² / outputs, within 10 %."""
    body = NET.replace("    y = Sigmoid(z)\n", "").replace(" y)", " z)")
    model = net(rng, 5, body)
    found = sensitivities(model, ["f"], pictures, seed=0, vectors=600, threads=1)
    z = run_model(model, x=np.concatenate(pictures))["z"]
    expected = np.sum(matrix(model) ** 2, axis=1) / z.astype(np.float64).var() / 5
    np.testing.assert_allclose(found["f"].fisher_diagonal, expected, rtol=0.1)


def test_what_enters_an_operator_without_a_gradient_is_an_output(rng, pictures):
    """Before a Hardmax nothing is known of the scores: f itself is looked at, to 1e-5.

    Its gradient is that of each of its four values over their deviation; behind it, all is as ever.
    """
    body = NET.replace("    z = Gemm(f, g)", "    h = Hardmax(f)\n    z = Gemm(h, g)")
    model = net(rng, 1, body)
    found = sensitivities(model, ["x", "f", "h"], pictures, seed=0, vectors=1, threads=1)
    assert set(found) == {"x", "f", "h", "a", "z"}
    outputs = run_model(with_outputs(model, ["f", "y"]), x=np.concatenate(pictures))
    expected = 1 / (4 * outputs["f"].astype(np.float64).var())
    np.testing.assert_allclose(found["f"].fisher_diagonal, np.full(4, expected), rtol=1e-5)
    score = outputs["y"].astype(np.float64)
    slope = score * (1 - score) / score.std()
    expected = np.mean((slope * matrix(model)[:, 0]) ** 2, axis=0)
    np.testing.assert_allclose(found["h"].fisher_diagonal, expected, rtol=1e-5)
    assert found["a"].fisher_diagonal.all()


def test_a_number_has_one_channel(rng, pictures):
    """A tensor without axes, such as a factor that is computed from the picture."""
    body = NET.replace("r = Relu(a)", "m = ReduceMax<keepdims=0>(a) b = Mul(a, m) r = Relu(b)")
    found = sensitivities(net(rng, 3, body), ["m", "r"], pictures, seed=0, threads=1)
    assert found["m"].fisher_diagonal.shape == (1,)
    assert found["m"].fisher_diagonal > 0


def test_the_seed_decides(rng, pictures):
    """Equal seeds give equal numbers, others do not."""
    model = net(rng, 5)
    first, same, other = (
        sensitivities(model, ["f"], pictures, seed=seed, threads=1)["f"].fisher_diagonal
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, same)
    assert np.all(first != other)


def test_scores_that_are_zero_count_nothing(rng, pictures):
    """Logits at −60 have no gradient, so a network with these alone has none at all."""
    body = NET.replace("g)\n", "g, low)\n")
    model = build_model(
        body,
        w=rng.normal(size=(4, 3, 1, 1)).astype(np.float32),
        g=rng.normal(size=(4, 2)).astype(np.float32),
        low=np.full(2, -120, np.float32),
    )
    found = sensitivities(ShapeInferencePass()(model).model, ["f"], pictures, seed=0, threads=1)
    assert found["f"].fisher_diagonal.sum() == 0


HEAD = """(float[1,3,4,4] x) => (float[n,a,m] boxes, float[n,b,m] scores, float[n,c,m] sizes) {
    box_logits = Conv(x, box_weight)
    class_logits = Conv(x, class_weight)
    size_logits = Conv(x, size_weight)
    head = Concat<axis=1>(box_logits, class_logits)
    flat = Reshape(head, shape)
    near, far = Split<axis=1>(flat, parts)
    bins = Reshape(near, binned)
    turned = Transpose<perm=[0,2,1,3]>(bins)
    shares = Softmax<axis=1>(turned)
    sides = Conv(shares, expectation)
    boxes = Reshape(sides, unbinned)
    scores = Sigmoid(far)
    flat_sizes = Reshape(size_logits, size_shape)
    sizes = Exp(flat_sizes)
}"""


def test_ends_of_a_head(rng):
    """Scores behind their Sigmoid, box sides behind their expectation, others as they are."""
    model = build_model(
        HEAD,
        box_weight=rng.normal(size=(20, 3, 1, 1)).astype(np.float32),
        class_weight=rng.normal(size=(6, 3, 1, 1)).astype(np.float32),
        size_weight=rng.normal(size=(2, 3, 1, 1)).astype(np.float32),
        expectation=np.arange(5, dtype=np.float32).reshape(1, 5, 1, 1),
        shape=np.array([1, 26, 16]),
        size_shape=np.array([1, 2, 16]),
        parts=np.array([20, 6]),
        binned=np.array([1, 4, 5, 16]),
        unbinned=np.array([1, 4, 16]),
    )
    SplitBranches()(model)
    RemoveUnusedNodesPass()(model)
    ShapeInferencePass()(model)
    assert {value.name for value in heads(model.graph)} == {"scores", "boxes", "flat_sizes"}
    BinsLast()(model)
    ShapeInferencePass()(model)
    assert {value.name for value in heads(model.graph)} == {"scores", "boxes", "flat_sizes"}
    picture = rng.normal(size=(1, 3, 4, 4)).astype(np.float32)
    found = sensitivities(model, ["x"], [picture], seed=0, threads=1)
    assert all(
        np.all(found[name].fisher_diagonal > 0) for name in ("x", "box_logits", "class_logits")
    )


def test_weights_follow_the_gradient(rng):
    """Values with a gradient four times as large count sixteen times; the total share is kept."""
    values = rng.uniform(-1, 1, 1_000_000).astype(np.float32)
    squares = np.where(values > 0, 16.0, 1.0)
    seen = Sensitivity(
        add(Histogram(MIN_EXPONENT, np.zeros(BINS)), values, squares),
        add(empty(), values),
        np.array([squares.mean()]),
    )
    wide = add(empty(), 3 * values)
    histogram = weighted(wide, seen)
    assert histogram.exponent == wide.exponent
    ratio = histogram.counts / np.maximum(wide.counts, 1)
    low, unseen, high = (
        ratio[(histogram.centres > a) & (histogram.centres < b)]
        for a, b in ((-0.9, -0.1), (1.5, 2.5), (0.1, 0.9))
    )
    np.testing.assert_allclose(high.mean() / low.mean(), 16, rtol=0.02)
    np.testing.assert_allclose(low, 1 / 8.5, rtol=0.05)
    # Where the sample has no value, the mean of the tensor stands in.
    np.testing.assert_allclose(unseen, 1, rtol=1e-9)


def test_without_gradients_weights_stay(rng):
    """A tensor that no output depends on keeps its histogram."""
    values = rng.normal(size=1000).astype(np.float32)
    plain = add(empty(), values)
    nothing = Sensitivity(Histogram(plain.exponent, np.zeros(BINS)), plain, np.zeros(1))
    assert weighted(plain, nothing) is plain
