"""Float models that are ready to be quantized."""

import numpy as np
import pytest

from passes.analysis.topology import weighted_layers
from tests.calibration import GivenBatches, plan_of
from tests.passes.helpers import build_model
from zqc.calibration.channel_moments import ChannelMoments
from zqc.detection.agreement import output_agreement, output_error
from zqc.progress import Silent
from zqc.quantization.candidates import calibrated, means_source
from zqc.quantization.equalize import Equalized, equalize
from zqc.quantization.quantize import quantize
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
    return GivenBatches(x[:2], x[2:])


def errors_of(forms, plan):
    """The error of the outputs of each form, quantized."""
    with Silent().task("", 0) as task:
        candidates = [calibrated(form, plan, batches(), "none", {}, task=task) for form in forms]
        files = [
            plan.target.lower(quantize(c.model, c.ranges, plan, means=c.means)) for c in candidates
        ]
        parts = output_agreement(forms[0].model, files, batches(), task=task, threads=1)
    return list(map(output_error, parts))


def test_equalization_lowers_the_error_where_channels_differ():
    """Channels that differ 64-fold lose nearly everything on one 4-bit grid."""
    model, plan = network([64, 32, 16, 8, 8, 4, 2, 1]), plan_of(RECIPE)
    forms = equalize(model, plan, batches(), {})
    assert len(forms) > 1
    plain, *equalized = errors_of(forms, plan)
    assert min(equalized) < 0.5 * plain


def test_a_candidate_knows_what_is_quantized():
    """Grids of the tensors, means of the statistics or of the pictures, or none."""
    plan = plan_of(RECIPE)
    form = Equalized(network(np.ones(8)))
    analytic = {"b": ChannelMoments(*(np.full(8, value) for value in (0.5, 1.0, 2.0)))}
    with Silent().task("", 0) as task:
        found = {
            source: calibrated(form, plan, batches(), source, analytic, task=task)
            for source in ("none", "statistics", "pictures")
        }
    assert found["none"].equalized is form
    assert found["none"].ranges.grids.keys() >= {"d", "f"}
    assert found["none"].means == {}
    np.testing.assert_array_equal(found["statistics"].means["b"], np.full(8, 0.5))
    assert found["pictures"].means.keys() >= {"b", "d", "f"}
    assert len(weighted_layers(found["none"].model.graph)) == 4


def test_moments_know_the_statistics():
    """Where the statistics tell means, inputs of layers have their second moments as well."""
    plan, form = plan_of(RECIPE), Equalized(network(np.ones(8)), {"b": np.full(8, 2.0)})
    analytic = {"b": ChannelMoments(*(np.full(8, value) for value in (0.5, 0.1, 2.0)))}
    with Silent().task("", 0) as task:
        plain, known = (
            calibrated(form, plan, batches(), source, analytic, task=task)
            for source in ("pictures", "statistics")
        )
    layers = [node.name for node in weighted_layers(plain.model.graph)]
    before, after = (each.ranges.statistics.moments for each in (plain, known))
    seen = np.diagonal(before[layers[1]][0, 0])
    expected = seen * np.clip(4 * 0.35 / seen, 1 / 16, 16)
    np.testing.assert_allclose(np.diagonal(after[layers[1]][0, 0]), expected, rtol=1e-12)
    np.testing.assert_array_equal(after[layers[2]], before[layers[2]])


def test_moments_of_an_equalized_form_follow_from_those_of_the_plain_one():
    """They are measured once: those of a channel that is s times as large are s times as large."""
    plan, analytic = plan_of(RECIPE), {"b": ChannelMoments(*np.ones((3, 8)))}
    with Silent().task("", 0) as task:
        plain, *others = (
            calibrated(form, plan, batches(), "statistics", analytic, task=task)
            for form in equalize(network([64, 32, 16, 8, 8, 4, 2, 1]), plan, batches(), {})
        )
    assert plain.with_moments_of(plain) is plain
    for measured in others:
        assert measured.equalized.factors
        scaled = measured.without_moments().with_moments_of(plain)
        for of, expected in zip(
            *(c.ranges.statistics.folds for c in (scaled, measured)), strict=True
        ):
            for layer, moments in expected.items():
                np.testing.assert_allclose(of[layer].second, moments.second, rtol=1e-4)
                np.testing.assert_allclose(of[layer].mean, moments.mean, rtol=1e-4)


def test_moments_can_be_let_go():
    """Without the second moments a candidate is the same but for them."""
    with Silent().task("", 0) as task:
        form = Equalized(network(np.ones(8)))
        found = calibrated(form, plan_of(RECIPE), batches(), "none", {}, task=task)
    assert found.ranges.statistics.moments
    light = found.without_moments()
    assert not light.ranges.statistics.moments
    assert light.ranges.grids == found.ranges.grids


@pytest.mark.parametrize(
    ("asked", "synthesised", "expected"),
    [
        ("auto", True, "statistics"),
        ("auto", False, "pictures"),
        ("none", True, "none"),
        ("pictures", True, "pictures"),
    ],
)
def test_where_means_come_from(asked, synthesised, expected):
    """What the user says goes; auto takes the statistics that pictures were synthesised from."""
    assert means_source(asked, synthesised=synthesised) == expected
