"""What layers read in a float and in a quantized model."""

import numpy as np
import pytest

from passes import QuantizeActivations
from passes.analysis.topology import weighted_layers
from passes.arithmetic import Grid
from tests.passes.helpers import build_model
from zqc.calibration.second_moments import input_columns
from zqc.quantization.paired_inputs import input_noise, paired_inputs

GRID = Grid(2, 4, True)
SAMPLES = 50


def look(model, batches, seed=0):
    """Measure the inputs of all layers, with the picture and the tensor ``a`` on a coarse grid."""
    quantized = model.clone()
    names = {"x", "a"} & {value.name for node in model.graph for value in node.inputs if value}
    QuantizeActivations(dict.fromkeys(sorted(names), GRID))(quantized)
    pairs = list(zip(weighted_layers(model.graph), weighted_layers(quantized.graph), strict=True))
    return pairs, paired_inputs(
        model,
        quantized,
        pairs,
        batches,
        samples=SAMPLES,
        generator=np.random.default_rng(seed),
        threads=1,
    )


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        ("Conv", (3, 4, 1, 1)),
        ("Conv<pads=[1,1,1,1]>", (3, 4, 3, 3)),
        ("Conv<group=2>", (6, 2, 3, 3)),
    ],
)
def test_they_are_the_moments_of_the_columns(rng, call, shape):
    """Means, covariance and drift are those of all sampled columns, in float64 (1e-5)."""
    model = build_model(
        f"(float[n,4,6,6] x) => (float[n,c,h,w] y) {{ y = {call}(x, w) }}",
        w=rng.normal(size=shape).astype(np.float32),
    )
    batches = [rng.normal(0.5, 1, (n, 4, 6, 6)).astype(np.float32) for n in (3, 2)]
    pairs, (found,) = look(model, batches)
    again = np.random.default_rng(0)
    positions = [again.random(SAMPLES * len(batch)) for batch in batches]
    x, y = (
        np.concatenate(
            [input_columns(pairs[0][0], f(b), p) for b, p in zip(batches, positions, strict=True)],
            axis=-1,
        ).astype(np.float64)
        for f in (lambda b: b, GRID.nearest)
    )
    mean, quantized_mean = x.mean(axis=-1), y.mean(axis=-1)
    x, y = x - mean[..., None], y - quantized_mean[..., None]
    turned = y.swapaxes(-1, -2) / y.shape[-1]
    np.testing.assert_allclose(found.mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.quantized_mean, quantized_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.covariance, y @ turned, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.drift, (x - y) @ turned, rtol=1e-5, atol=1e-5)
    assert np.abs(found.drift).max() > 1e-3


def test_noise_is_the_variance_of_what_quantization_adds(rng):
    """Of every column, around its mean, in float64 (1e-5); nothing for layers without columns."""
    model = build_model(
        "(float[n,4,6,6] x) => (float[n,c,h,w] y) { a = Conv(x, w) y = ConvTranspose(a, v) }",
        w=rng.normal(size=(3, 4, 3, 3)).astype(np.float32),
        v=rng.normal(size=(3, 2, 2, 2)).astype(np.float32),
    )
    quantized = model.clone()
    QuantizeActivations({"x": GRID})(quantized)
    batches = [rng.normal(0.5, 1, (n, 4, 6, 6)).astype(np.float32) for n in (3, 2)]
    seeded = {"samples": SAMPLES, "generator": np.random.default_rng(0), "threads": 1}
    found = input_noise(model, quantized, batches, **seeded)
    assert list(found) == ["make_a"]
    again, added = np.random.default_rng(0), []
    for batch in batches:
        error = GRID.nearest(batch) - batch
        positions = again.random(SAMPLES * len(batch))
        again.random(SAMPLES * len(batch))  # those of the layer without columns
        added.append(input_columns(next(iter(model.graph)), error, positions))
    expected = np.concatenate(added, axis=-1).astype(np.float64).var(axis=-1)
    assert expected.shape == (1, 1, 36)
    np.testing.assert_allclose(found["make_a"], expected, rtol=1e-5)


def test_layers_without_columns_have_means_per_channel(rng):
    """A ConvTranspose is told the means of its input's channels, over all positions (1e-5)."""
    model = build_model(
        "(float[n,4,5,5] x) => (float[n,c,h,w] y) { y = ConvTranspose(x, w) }",
        w=rng.normal(size=(4, 2, 2, 2)).astype(np.float32),
    )
    x = rng.normal(0.5, 1, (3, 4, 5, 5)).astype(np.float32)
    _, (found,) = look(model, [x[:2], x[2:]])
    axes = (0, 2, 3)
    np.testing.assert_allclose(found.mean, x.mean(axes), rtol=1e-5)
    np.testing.assert_allclose(found.quantized_mean, GRID.nearest(x).mean(axes), rtol=1e-5)
    assert found.covariance is None
    assert found.drift is None


def test_layers_are_looked_at_together(rng):
    """Inputs of several layers come in their order, whether computed or the picture itself."""
    model = build_model(
        """(float[n,4,5,5] x) => (float[n,c,h,w] y, float[n,d,h,w] z) {
            a = Relu(x) y = Conv(a, w) z = Conv(x, w) }""",
        w=np.ones((2, 4, 1, 1), np.float32),
    )
    x = rng.normal(size=(2, 4, 5, 5)).astype(np.float32)
    _, (of_relu, of_picture) = look(model, [x])
    assert of_relu.mean.min() > 0.2
    assert of_picture.mean.min() < 0.2
