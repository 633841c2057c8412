"""Several forms of one function are quantized, and the best one is taken."""

import math

import numpy as np
import pytest

from passes.analysis.topology import weighted_layers
from tests.passes.helpers import build_model
from zqc.detection.agreement import PartAgreement
from zqc.progress import Silent
from zqc.quantization.choose_equalization import calibrate_best, output_error
from zqc.quantization.equalize import Equalized, equalize
from zqc.recipe.recipe import Recipe

TEXT = """(float[n,3,8,8] x) => (float[n,4,8,8] y) {
    a = Conv(x, w0) b = Relu(a) c = Conv(b, w1) d = Relu(c) e = Conv(d, w2) f = Relu(e)
    y = Conv(f, w3)
}"""
RECIPE = Recipe(bits=8, act_bits=4)


def network(spread):
    """Four layers; channels behind the second and the third one are as wide as ``spread`` says."""
    rng = np.random.default_rng(3)
    shapes = [(8, 3, 1, 1), (8, 8, 1, 1), (8, 8, 1, 1), (4, 8, 1, 1)]
    weights = [rng.normal(0, 1 / np.sqrt(s[1]), s).astype(np.float32) for s in shapes]
    widths = np.asarray(spread, np.float32).reshape(-1, 1, 1, 1)
    for index in (1, 2):
        weights[index] *= widths
        weights[index + 1] /= widths.reshape(1, -1, 1, 1)
    return build_model(TEXT, **{f"w{i}": weight for i, weight in enumerate(weights)})


def batches():
    """Pictures in two batches."""
    x = np.random.default_rng(0).uniform(-1, 1, (4, 3, 8, 8)).astype(np.float32)
    return [x[:2], x[2:]]


def best_of(forms):
    """What is taken of the forms."""
    return calibrate_best(
        forms, RECIPE, (), batches, lambda _r, _e: {}, pictures=4, progress=Silent(), threads=1
    )


def test_equalization_is_taken_where_it_lowers_the_error():
    """Channels that differ 64-fold lose nearly everything on one 4-bit grid."""
    model = network([64, 32, 16, 8, 8, 4, 2, 1])
    forms = equalize(model, RECIPE, (), batches, {}, threads=1)
    assert len(forms) > 1
    best = best_of(forms)
    assert best.equalized in forms[1:]
    assert best.ranges.grids.keys() >= {"d", "f"}
    assert len(weighted_layers(best.model.graph)) == 4


def test_the_order_does_not_decide():
    """A form that enlarges the wrong channels loses, wherever it stands."""
    model = network(np.ones(8))
    bad = Equalized(network([64, 32, 16, 8, 8, 4, 2, 1]))  # the same function
    assert best_of([bad, Equalized(model)]).equalized.model is model
    assert best_of([Equalized(model), bad]).equalized.model is model


def test_one_form_is_taken_as_it_is():
    """Nothing is compared, only calibrated."""
    form = Equalized(network(np.ones(8)))
    assert best_of([form]).equalized is form


@pytest.mark.parametrize(
    ("sqnrs", "expected"), [((10, 20), 0.11), ((math.inf,), 0.0), ((-math.inf, 3), math.inf)]
)
def test_output_error(sqnrs, expected):
    """Relative squared errors of the parts add up."""
    parts = [PartAgreement("y", "raw", db, 1.0, 2, 2) for db in sqnrs]
    assert output_error(parts) == pytest.approx(expected)
