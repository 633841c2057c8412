"""The loss of a set of pictures as a plain loop over layers computes it."""

import numpy as np
import pytest

from zqc.recipe.recipe import TERMS
from zqc.statistics.batchnorm import LayerStatistics
from zqc.synthesis.matching import Targets

SIZES = (3, 8, 1, 5)


@pytest.fixture
def layers(rng):
    """Layers of several sizes, with a dead channel."""
    made = [
        LayerStatistics(f"n{size}", rng.normal(size=size), rng.uniform(0.2, 2, size))
        for size in SIZES
    ]
    made[1].deviation[2] = 0
    return made


def pooled(rng, layers):
    """Means and second moments that pictures could have, layer by layer."""
    means = [rng.normal(size=len(layer.mean)) for layer in layers]
    deviations = [rng.uniform(0.1, 3, len(layer.mean)) for layer in layers]
    return means, deviations


def as_moments(means, deviations):
    """E[x] and E[x²], all layers in a row."""
    first = np.concatenate(means)
    return first, first**2 + np.concatenate(deviations) ** 2


@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("ratio", [1.0, 10.0])
def test_the_loss_is_the_mean_over_layers_and_channels(rng, layers, terms, ratio):
    """Squared deviations in units, averaged per layer, then over the layers (1e-10)."""
    means, deviations = pooled(rng, layers)
    expected = 0.0
    for layer, mean, deviation in zip(layers, means, deviations, strict=True):
        unit = np.sqrt(layer.deviation**2 + 0.01 * np.mean(layer.deviation**2))
        off_mean = np.mean(((mean - layer.mean) / unit) ** 2) if terms != "std" else 0
        off_std = np.mean(((deviation - layer.deviation) / unit) ** 2) if terms != "mean" else 0
        expected += (off_mean + ratio * off_std) / len(layers)
    targets = Targets.of(layers, terms, ratio)
    assert targets.loss(*as_moments(means, deviations)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("index", range(len(SIZES)))
def test_every_layer_weighs_the_same(layers, index):
    """A layer of which every mean is off by two units costs 4 over the number of layers."""
    means = [layer.mean.copy() for layer in layers]
    means[index] += 2 * layers[index].unit
    moments = as_moments(means, [layer.deviation for layer in layers])
    targets = Targets.of(layers)
    floor = 1e-6  # a dead channel's deviation is taken to be a thousandth of its unit
    assert targets.loss(*moments) == pytest.approx(4 / len(SIZES), abs=floor)


def test_residuals_are_in_units_and_in_order(rng, layers):
    """Signed, channel by channel in the order of the layers (1e-9)."""
    means, deviations = pooled(rng, layers)
    off_mean, off_deviation = Targets.of(layers).residuals(*as_moments(means, deviations))
    units = [layer.unit for layer in layers]
    for found, got, goals in (
        (off_mean, means, [layer.mean for layer in layers]),
        (off_deviation, deviations, [layer.deviation for layer in layers]),
    ):
        parts = [(g - s) / u for g, s, u in zip(got, goals, units, strict=True)]
        np.testing.assert_allclose(found, np.concatenate(parts), rtol=1e-9, atol=1e-9)


def test_pictures_that_match_cost_nothing(layers):
    """At the targets the loss is 0, but for what a dead channel keeps of a unit (1e-6)."""
    moments = as_moments([layer.mean for layer in layers], [layer.deviation for layer in layers])
    assert Targets.of(layers).loss(*moments) <= 1e-6


def test_a_variance_below_zero_counts_as_the_floor(layers):
    """Rounding may leave E[x²] below E[x]²: the deviation is then 1e-3 units, not NaN."""
    targets = Targets.of(layers)
    first, second = as_moments([layer.mean for layer in layers], [0 * s.mean for s in layers])
    _, off = targets.residuals(first, second - 1e-3)
    units = np.concatenate([layer.unit for layer in layers])
    goals = np.concatenate([layer.deviation for layer in layers])
    np.testing.assert_allclose(off, (1e-3 * units - goals) / units, rtol=1e-9, atol=1e-12)


def test_sizes_are_those_of_the_layers(layers):
    """Where one layer ends and the next begins can be told."""
    assert Targets.of(layers).sizes == SIZES


def test_places_are_those_of_the_layers(layers):
    """Each cuts the means of its layer out of all of them."""
    targets = Targets.of(layers)
    for place, layer in zip(targets.places, layers, strict=True):
        np.testing.assert_array_equal(targets.mean[place], layer.mean)
