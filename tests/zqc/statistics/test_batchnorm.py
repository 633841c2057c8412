"""The statistics in a model are those of what its BatchNormalizations put out in training."""

import numpy as np
import pytest

from passes.graph import with_outputs
from tests.passes.helpers import build_model, run_model
from zqc.errors import NoBatchNormError
from zqc.statistics.batchnorm import LayerStatistics, harvest, with_sums

NET = """(float[N,3,9,8] x) => (float[a,b,c,d] y) {
    first = Conv(x, w)
    normed = BatchNormalization<epsilon=0.01>(first, g, b, m, v)
    active = Relu(normed)
    second = Conv(active, w2)
    y = BatchNormalization<epsilon=0.0>(second, g2, b2, m2, v2)
}"""


def net(rng, **arrays):
    """Two layers, five and four channels; ``arrays`` take the place of random ones."""
    parameters = {
        "w": rng.normal(size=(5, 3, 3, 3)),
        "w2": rng.normal(size=(4, 5, 1, 1)),
    }
    for suffix, count in (("", 5), ("2", 4)):
        parameters["g" + suffix] = rng.normal(size=count)
        parameters["b" + suffix] = rng.normal(size=count)
        parameters["m" + suffix] = rng.normal(size=count)
        parameters["v" + suffix] = rng.uniform(0.2, 2, count)
    parameters |= arrays
    typed = {name: np.asarray(value, np.float32) for name, value in parameters.items()}
    return build_model(NET, opset=17, **typed), typed


def test_closed_form(rng):
    """Mean and deviation are β and |γ|·σ/√(σ²+ε), layers stand in graph order under their names."""
    model, given = net(rng)
    first, second = harvest(model)
    assert (first.output, second.output) == ("normed", "y")
    given = {name: array.astype(np.float64) for name, array in given.items()}
    np.testing.assert_allclose(first.mean, given["b"], rtol=1e-12)
    expected = np.abs(given["g"]) * np.sqrt(given["v"] / (given["v"] + 0.01))
    np.testing.assert_allclose(first.deviation, expected, rtol=1e-6)
    np.testing.assert_allclose(second.mean, given["b2"], rtol=1e-12)
    np.testing.assert_allclose(second.deviation, np.abs(given["g2"]), rtol=1e-6)


def test_they_are_what_the_training_data_gave(rng):
    """With a data set's own statistics as running ones, they are those of the outputs on it."""
    data = rng.normal(0.4, 0.3, (6, 3, 9, 8)).astype(np.float32)
    parameters = {}
    for source, suffix in (("first", ""), ("second", "2")):
        # The second layer's input depends on what the first layer's statistics are.
        model, _ = net(np.random.default_rng(7), **parameters)
        seen = run_model(with_outputs(model, [source]), x=data)[source].astype(np.float64)
        parameters["m" + suffix] = seen.mean(axis=(0, 2, 3))
        parameters["v" + suffix] = seen.var(axis=(0, 2, 3))
    model, _ = net(np.random.default_rng(7), **parameters)
    outputs = run_model(with_outputs(model, ["normed", "y"]), x=data)
    for layer in harvest(model):
        values = outputs[layer.output].astype(np.float64)
        np.testing.assert_allclose(layer.mean, values.mean(axis=(0, 2, 3)), atol=2e-6)
        np.testing.assert_allclose(layer.deviation, values.std(axis=(0, 2, 3)), rtol=1e-5)


def test_statistics_outlive_folding(rng):
    """They are read into arrays: what becomes of the model later does not matter."""
    model, given = net(rng)
    layers = harvest(model)
    for value in model.graph.initializers.values():
        value.const_value = None
    np.testing.assert_array_equal(layers[0].mean, given["b"])


@pytest.mark.parametrize(
    ("name", "value"), [("v", 0.0), ("v", 1e-12), ("g", 0.0), ("v", 4.8e7), ("v", 1e-38)]
)
def test_extreme_channels_have_finite_units(rng, name, value):
    """Dead channels and one of variance 4.8·10⁷ leave every unit positive and finite."""
    array = np.float32([value, 1, 1, 1, 1])
    layer = harvest(net(rng, **{name: array})[0])[0]
    for numbers in (layer.mean, layer.deviation, layer.unit, 1 / layer.unit):
        assert np.isfinite(numbers).all()
    assert layer.unit.min() > 0
    # A tenth of the layer's root mean square deviation is the least.
    assert layer.unit.min() >= 0.1 * np.sqrt(np.mean(layer.deviation**2)) * (1 - 1e-9)


def test_a_layer_that_is_all_dead_has_units():
    """Even a layer without any deviation can be divided by its unit."""
    layer = LayerStatistics("dead", np.zeros(3), np.zeros(3))
    np.testing.assert_allclose(layer.unit, 1e-6)


def test_units_of_alike_channels_are_their_deviation():
    """Where all channels deviate by the same, the unit is that within half a percent."""
    layer = LayerStatistics("alike", np.zeros(3), np.full(3, 7.0))
    np.testing.assert_allclose(layer.unit, 7, rtol=0.006)


def test_without_batchnorm_the_remedy_is_named():
    """The error names a checkpoint, how to export with BatchNorm kept, and pictures."""
    model = build_model("(float[1,3] x) => (float[1,3] y) { y = Relu(x) }")
    with pytest.raises(NoBatchNormError) as caught:
        harvest(model)
    message = str(caught.value)
    for part in (
        "no BatchNormalization",
        "--statistics CHECKPOINT.pt",
        "torch.onnx.export(model.eval()",
        "do_constant_folding=False",
        "TrainingMode.PRESERVE",
        "--skip-fuse-bn",
        "--images",
    ):
        assert part in message


SUMS = """(float[N,3,9,8] x) => (float[a,b,c,d] y) {
    u = BatchNormalization(x, g, b, m, v) w = BatchNormalization(x, b, g, m, v)
    s = Add(u, w) t = Sum(s, u) r = Relu(t) y = Add(r, s)
}"""


def test_a_sum_that_became_a_layer_has_the_sums_of_its_terms(rng):
    """Means add up, and so do variances; other sums, and what is no sum, have no entry."""
    given = {key: rng.uniform(0.5, 2, 3).astype(np.float32) for key in "gbmv"}
    model = build_model(SUMS, opset=17, **given)
    prepared = build_model(
        "(float[N,3,9,8] x) => (float[a,b,c,d] t) { t = Conv(x, k) }",
        k=np.ones((3, 3, 1, 1), np.float32),
    )
    layers = harvest(model)
    *before, added = with_sums(model, prepared, layers)
    assert tuple(before) == layers
    assert added.output == "t"
    first, second = layers
    np.testing.assert_allclose(added.mean, 2 * first.mean + second.mean, rtol=1e-12)
    variance = 2 * first.deviation**2 + second.deviation**2
    np.testing.assert_allclose(added.deviation, np.sqrt(variance), rtol=1e-12)


THREE = """(float[N,3,9,8] x) => (float[a,b,c,d] y) {
    stem = BatchNormalization(x, g, b, m, v)
    first = Conv(stem, w)
    normed = BatchNormalization(first, g, b, m, broken)
    second = Conv(normed, w)
    y = BatchNormalization(second, g, b, m, v)
}"""


def test_layers_behind_a_negative_variance_are_left_out(rng):
    """What it blows up is not what the layers behind were like in training."""
    ones = {name: np.ones(3, np.float32) for name in ("g", "b", "m", "v")}
    weight = rng.normal(size=(3, 3, 1, 1)).astype(np.float32)

    def left(broken, **more):
        arrays = ones | {"w": weight, "broken": np.array(broken, np.float32)} | more
        return [layer.output for layer in harvest(build_model(THREE, **arrays))]

    assert left([0, 1, 1]) == ["stem", "normed", "y"]
    assert left([-1e-6, 1, 1]) == ["stem"]
    negative = np.array([-1e-6, 1, 1], np.float32)
    assert left(negative, v=negative) == ["stem", "normed", "y"]  # there are no others
