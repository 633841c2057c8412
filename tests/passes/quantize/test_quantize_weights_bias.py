"""Bias correction: over the calibration data, the mean of a layer's output does not move."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import QuantizeActivations, QuantizeWeights
from passes.arithmetic import Grid, fake_quantize

INPUT = Grid(0, 8, signed=True)
OUTPUT = Grid(6, 8, signed=True)
COUNT = 64
LAYERS = {
    "1x1 Conv": ("Conv", (6, 4, 1, 1), 6),
    "grouped Conv": ("Conv<group=2>", (6, 2, 1, 1), 6),
    "depthwise Conv": ("Conv<group=4>", (8, 1, 1, 1), 8),
    "Gemm": ("Gemm", (4, 6), 6),
    "Gemm, transposed": ("Gemm<transB=1>", (6, 4), 6),
    "ConvTranspose": ("ConvTranspose<strides=[2,2]>", (4, 6, 2, 2), 6),
    "grouped ConvTranspose": ("ConvTranspose<strides=[2,2], group=2>", (4, 3, 2, 2), 6),
    "ConvTranspose with gaps": (
        "ConvTranspose<strides=[3,2], output_padding=[1,1]>",
        (4, 6, 2, 1),
        6,
    ),
}
"""Layers in which every input value meets every weight equally often."""


def model_of(build, call, weight, bias):
    """One layer whose input and output are quantized."""
    flat = weight.ndim == 2
    sizes, rank = (f"{COUNT},4", "n,c") if flat else (f"{COUNT},4,6,6", "n,c,h,w")
    arrays = {"w": weight} | ({} if bias is None else {"b": bias})
    names = ", ".join(["x", *arrays])
    model = build(f"(float[{sizes}] x) => (float[{rank}] y) {{ y = {call}({names}) }}", **arrays)
    QuantizeActivations({"x": INPUT, "y": OUTPUT})(model)
    return model


def channel_means(run, model, x, window=np.s_[:, :]):
    """Mean of what the layer puts out, before its output is rounded, per channel."""
    (layer,) = (n for n in model.graph if n.op_type in ("Conv", "ConvTranspose", "Gemm"))
    model.graph.outputs[0] = layer.outputs[0]
    (y,) = run(model, x=x).values()
    y = y[window].astype(np.float64)
    return y.mean(axis=(0, *range(2, y.ndim))), layer


def data(rng, weight, *, constant=False):
    """Pictures on the input's grid, with channels of unlike means."""
    size = () if weight.ndim == 2 else (1, 1) if constant else (6, 6)
    centres = np.array([0.5, -0.4, 0.3, 0.6]).reshape(4, *(1,) * len(size))
    values = rng.normal(centres, 0.2, (COUNT, 4, *size)).astype(np.float32)
    rounded = fake_quantize(values, INPUT.scale, bits=8, signed=True)
    return np.broadcast_to(rounded, (COUNT, 4, 6, 6)).copy() if constant else rounded


def compare(build, run, rng, call, shape, bias, *, x=None, window=np.s_[:, :]):
    """Errors of the means without and with correction, and the step of the corrected bias."""
    weight = rng.normal(0, 0.5, shape).astype(np.float32)
    x = data(rng, weight) if x is None else x
    mean = x.mean(axis=(0, *range(2, x.ndim)), dtype=np.float64)
    exact, _ = channel_means(run, model_of(build, call, weight, bias), x, window)
    errors = []
    for means in ({}, {"x": mean}):
        model = model_of(build, call, weight, bias)
        QuantizeWeights(first_last_bits=4, input_means=means)(model)
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
        got, layer = channel_means(run, model, x, window)
        errors.append(np.abs(got - exact))
    step = layer.inputs[2].producer().inputs[1].const_value.numpy()
    return *errors, step


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_mean_is_restored(build, run, rng, layer, has_bias):
    """Over the data the mean is the float layer's, but for the rounding of the bias itself.

    A bias is rounded to the step s_x·s_w, which leaves half of it at most; float32 adds 1e-6.
    Without correction the mean is at least five times that far away.
    """
    call, shape, channels = LAYERS[layer]
    bias = rng.normal(size=channels).astype(np.float32) if has_bias else None
    plain, corrected, step = compare(build, run, rng, call, shape, bias)
    assert np.all(corrected <= step / 2 + 1e-6)
    assert plain.max() > 5 * step.max() / 2


@pytest.mark.parametrize("layer", ["1x1 Conv", "Gemm"])
def test_the_mean_is_restored_to_a_ten_thousandth(build, run, rng, layer):
    """With weights so small that the bias is fine enough, the mean is exact to 1e-4."""
    call, shape, _ = LAYERS[layer]
    weight = (rng.normal(size=shape) / 64).astype(np.float32)
    x = data(rng, weight)
    mean = x.mean(axis=(0, *range(2, x.ndim)), dtype=np.float64)
    exact, _ = channel_means(run, model_of(build, call, weight, None), x)
    model = model_of(build, call, weight, None)
    QuantizeWeights(first_last_bits=4, input_means={"x": mean})(model)
    got, _ = channel_means(run, model, x)
    np.testing.assert_allclose(got, exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kernel", [3, 4])
def test_overlapping_windows_in_the_interior(build, run, rng, kernel):
    """A ConvTranspose of stride 2 keeps its mean where no border cuts windows off."""
    call, shape = "ConvTranspose<strides=[2,2]>", (4, 6, kernel, kernel)
    x = data(rng, np.empty(shape), constant=True)
    window = np.s_[:, :, 4:10, 4:10]  # whole periods of the stride
    plain, corrected, step = compare(build, run, rng, call, shape, None, x=x, window=window)
    assert np.all(corrected <= step / 2 + 1e-6)
    assert plain.max() > 5 * step.max() / 2


def test_a_layer_without_bias_gets_one(build, rng):
    """With means there is a third input, without means there is none."""
    weight = rng.normal(size=(6, 4, 1, 1)).astype(np.float32)
    for means, inputs in (({}, 2), ({"x": np.ones(4)}, 3), ({"other": np.ones(4)}, 2)):
        model = model_of(build, "Conv", weight, None)
        QuantizeWeights(first_last_bits=4, input_means=means)(model)
        (layer,) = (node for node in model.graph if node.op_type == "Conv")
        assert len(layer.inputs) == inputs


def test_exact_weights_need_no_correction(build, run, rng):
    """Weights on the grid leave a missing bias missing and a given one as it is."""
    weight = rng.choice(np.float32([-0.5, 0.25, 0.75]), (6, 4, 1, 1))
    model = model_of(build, "Conv", weight, None)
    QuantizeWeights(first_last_bits=4, input_means={"x": np.ones(4)})(model)
    (layer,) = (node for node in model.graph if node.op_type == "Conv")
    assert len(layer.inputs) == 2
