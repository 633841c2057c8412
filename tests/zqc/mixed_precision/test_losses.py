"""Predicted losses against what small networks really lose."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from passes.arithmetic import Grid
from passes.layers import layer_of
from passes.quantize.quantize_weights import rounded_weight
from tests.passes.helpers import build_model, run_model
from zqc.calibration.collect import CalibrationStatistics, TensorStatistics
from zqc.calibration.histogram import add, empty
from zqc.calibration.second_moments import Moments, input_columns
from zqc.calibration.sensitivity import sensitivities
from zqc.mixed_precision.losses import (
    mean_square,
    output_errors,
    uncorrelated_errors,
    weight_losses,
)

LAYERS = {
    "Conv": ("Conv<pads=[1,1,1,1], strides=[2,2]>", (6, 4, 3, 3)),
    "grouped Conv": ("Conv<group=2>", (6, 2, 3, 3)),
    "depthwise Conv": ("Conv<group=4>", (8, 1, 3, 3)),
    "1x1 Conv": ("Conv", (6, 4, 1, 1)),
    "Gemm": ("Gemm<alpha=0.5>", (4, 6)),
    "Gemm, transposed": ("Gemm<transB=1>", (6, 4)),
    "ConvTranspose": ("ConvTranspose<strides=[2,2]>", (4, 6, 2, 2)),
    "grouped ConvTranspose": ("ConvTranspose<strides=[2,2], group=2>", (4, 3, 2, 2)),
    "MatMul": ("MatMul", (4, 6)),
}
INPUT = Grid(2, 8, signed=True)


def layer(rng, name, pictures=64):
    """The model of a layer, correlated inputs off centre, and a small error of its weight."""
    call, shape = LAYERS[name]
    flat = name.startswith(("Gemm", "MatMul"))
    model = build_model(
        f"(float[n,4{'' if flat else ',6,6'}] x) => (float[n{',c' if flat else ',c,h,w'}] y)"
        f"{{ y = {call}(x, w) }}",
        w=rng.normal(size=shape).astype(np.float32),
    )
    x = rng.normal(size=(pictures, 4) if flat else (pictures, 4, 6, 6)) + 0.5
    x = x + x[:, ::-1] * 0.7
    return model, x.astype(np.float32), rng.normal(0, 0.1, shape).astype(np.float32)


def measured(model, x, error):
    """What the error of the weight adds to the output, with the channels last."""
    weight = model.graph.initializers["w"].const_value.numpy()
    exact = run_model(model, x=x)["y"]
    changed = model.clone()
    changed.graph.initializers["w"].const_value = ir.tensor(weight + error)
    return np.moveaxis(run_model(changed, x=x)["y"] - exact, 1, -1).astype(np.float64)


def all_moments(node, x, outputs):
    """Moments with every output position looked at once."""
    columns = input_columns(node, x, (np.arange(outputs) + 0.5) / outputs).astype(np.float64)
    second = columns @ columns.swapaxes(-1, -2) / outputs
    return Moments(second, columns.mean(axis=-1), outputs)


@pytest.mark.parametrize("name", list(LAYERS)[:6])
def test_output_error_is_the_measured_one(rng, name):
    """δᵀMδ of every output channel equals the mean squared change of the output, to 1e-4."""
    model, x, error = layer(rng, name)
    change = measured(model, x, error)
    moments = all_moments(model.graph[0], x, change[..., 0].size)
    found = output_errors(model.graph[0], error, moments.second)
    expected = (change**2).reshape(-1, change.shape[-1]).mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["1x1 Conv", "Gemm, transposed"])
def test_a_corrected_bias_leaves_the_variance(rng, name):
    """With the mean of the input the mean of the error is taken out, to 1e-4."""
    model, x, error = layer(rng, name)
    change = measured(model, x, error)
    moments = all_moments(model.graph[0], x, change[..., 0].size)
    found = output_errors(model.graph[0], error, moments.second, moments.mean)
    expected = change.reshape(-1, change.shape[-1]).var(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("name", [*list(LAYERS)[-3:], "depthwise Conv"])
def test_uncorrelated_inputs(rng, name):
    """Without moments the mean square of white inputs predicts every channel to 15 %."""
    model, x, error = layer(rng, name, pictures=2000)
    x = rng.normal(size=x.shape).astype(np.float32)
    change = measured(model, x, error)
    found = uncorrelated_errors(model.graph[0], error, mean_square(add(empty(), x)))
    expected = (change**2).reshape(-1, change.shape[-1]).mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=0.15)


NET = """(float[n,4,6,6] x) => (float[n,c,h,w] y, float[n,c,h,w] dead) {
    a = Conv(x, v)
    y = Conv(a, w)
    still = Mul(a, zero)
    dead = Conv(still, w)
}"""


@pytest.fixture
def seen(rng):
    """A small network, its statistics by all positions, and its sensitivities."""
    weights = {"v": (5, 4, 1, 1), "w": (6, 5, 1, 1)}
    arrays = {n: rng.normal(size=shape).astype(np.float32) for n, shape in weights.items()}
    model = build_model(NET, zero=0.0, **arrays)
    x = rng.normal(size=(32, 4, 6, 6)).astype(np.float32)
    values = {"x": x, "a": np.einsum("oc,nchw->nohw", arrays["v"][:, :, 0, 0], x)}
    values["still"] = values["a"] * 0
    inputs = {node.name: node for node in model.graph if node.op_type == "Conv"}
    statistics = CalibrationStatistics(
        {n: TensorStatistics(add(empty(), v), v.mean(axis=(0, 2, 3))) for n, v in values.items()},
        ({n: all_moments(node, values[node.inputs[0].name], 1152) for n, node in inputs.items()},),
    )
    found = sensitivities(model, ["x"], [x], seed=0, vectors=8, threads=1)
    return model, x, statistics, found


def predicted(seen, widths, **options):
    """The table of losses with every input on one grid."""
    model, _, statistics, found = seen
    grids = dict.fromkeys(["x", "a", "still"], INPUT)
    settings = {"compensate": False, "second_moments": False, "corrected": False} | options
    return weight_losses(model, widths, grids, statistics, found, **settings)


@pytest.mark.parametrize("compensate", [False, True])
@pytest.mark.parametrize("second_moments", [False, True])
def test_the_loss_of_a_layer_is_the_measured_one(seen, compensate, second_moments):
    """Mean squared change of the output over its variance: the last layer to 1e-3."""
    model, x, statistics, _ = seen
    options = {"compensate": compensate, "second_moments": second_moments}
    losses = predicted(seen, {"make_y": (3, 4, 8)}, **options)
    exact = run_model(model, x=x)["y"].astype(np.float64)
    weights = {n: model.graph.initializers[n].const_value.numpy() for n in "vw"}
    a = np.einsum("oc,nchw->nohw", weights["v"][:, :, 0, 0], x)
    for bits in (3, 4, 8):
        integers, scale = rounded_weight(
            [(layer_of(model.graph[1]), INPUT.scale)],
            weights["w"],
            bits=bits,
            moments=statistics.moments["make_y"],
            neighbours=False,
            **options,
        )
        error = integers * scale[:, None, None, None] - weights["w"]
        change = np.einsum("oc,nchw->nohw", error[:, :, 0, 0], a)
        expected = np.mean(change**2) / np.var(exact)
        assert losses["make_y"][bits] == pytest.approx(expected, rel=1e-3)


def test_what_is_rounded_for_one_fold_is_judged_by_another(seen, rng):
    """Rounded for the last, the loss is that of the first fold's pictures (1e-3)."""
    model, x, statistics, found = seen
    other = rng.normal(size=(1152, 5)) @ rng.normal(size=(5, 5))
    second = (other.T @ other / 1152)[None, None]
    last = {"make_y": Moments(second, other.mean(axis=0)[None, None], 1152)}
    two = replace(statistics, folds=(*statistics.folds, last))
    losses = predicted((model, x, two, found), {"make_y": (3,)}, compensate=True)
    integers, scale = rounded_weight(
        [(layer_of(model.graph[1]), INPUT.scale)],
        model.graph.initializers["w"].const_value.numpy(),
        bits=3,
        moments=second,
        neighbours=False,
    )
    weights = {n: model.graph.initializers[n].const_value.numpy()[..., 0, 0] for n in "vw"}
    error = integers[..., 0, 0] * scale[:, None] - weights["w"]
    change = np.einsum("po,oc,nchw->nphw", error, weights["v"], x)
    exact = run_model(model, x=x)["y"].astype(np.float64)
    assert losses["make_y"][3] == pytest.approx(np.mean(change**2) / np.var(exact), rel=1e-3)


def test_the_loss_of_an_inner_layer(seen):
    """Seen through the layer behind it, in the mean over its error's directions: to a third."""
    model, x, _, _ = seen
    losses = predicted(seen, {"make_a": (4,)})
    weights = {n: model.graph.initializers[n].const_value.numpy()[:, :, 0, 0] for n in "vw"}
    node, weight = model.graph[0], model.graph.initializers["v"].const_value.numpy()
    integers, scale = rounded_weight([(layer_of(node), 1.0)], weight, bits=4)
    error = (integers * scale[:, None, None, None] - weight)[:, :, 0, 0]
    change = np.einsum("po,oc,nchw->nphw", weights["w"], error, x)
    exact = run_model(model, x=x)["y"].astype(np.float64)
    assert losses["make_a"][4] == pytest.approx(np.mean(change**2) / np.var(exact), rel=0.33)


def test_more_bits_lose_less_and_float_nothing(seen):
    """From 2 to 8 bits by a factor of 2 at least each time; 32 is float."""
    (losses,) = predicted(seen, {"make_a": (*range(2, 9), 32)}).values()
    assert all(losses[b + 1] < losses[b] / 2 for b in range(2, 8))
    assert losses[32] == 0


def test_what_no_output_depends_on_counts_like_the_least(seen):
    """A dead branch is not free: few pictures may not have shown what it is for."""
    _, _, statistics, found = seen
    statistics.folds[0]["make_dead"] = statistics.folds[0]["make_y"]
    assert not found["dead"].fisher_diagonal.any()
    losses = predicted(seen, {"make_dead": (4,), "make_y": (4,)})
    least = min(found[name].fisher_diagonal.sum() for name in ("a", "y"))
    expected = losses["make_y"][4] * least / found["y"].fisher_diagonal.sum()
    assert losses["make_dead"][4] == pytest.approx(expected, rel=0.3)


def test_what_is_left_out(seen):
    """Layers without widths, without a grid at the input, without a sensitivity."""
    model, _, statistics, found = seen
    grids = {"x": INPUT, "a": INPUT}
    widths = {"make_a": (4,), "make_dead": (4,), "make_y": (4,)}
    del found["y"]
    options = {"compensate": False, "second_moments": False, "corrected": True}
    assert list(weight_losses(model, widths, grids, statistics, found, **options)) == ["make_a"]
    assert weight_losses(model, {}, grids, statistics, found, **options) == {}


def no_weights():
    """A histogram for sums of weights."""
    return replace(empty(), counts=empty().counts.astype(np.float64))
