"""Equalization of the prepared float model, as the recipe asks."""

import numpy as np
import pytest

from passes.graph import with_outputs
from tests.calibration import GivenBatches, plan_of
from tests.passes.helpers import build_model, operator_types, relative_error, run_model
from zqc.calibration.channel_moments import ChannelMoments
from zqc.quantization.equalize import Equalized, equalize
from zqc.recipe.recipe import Recipe

SPREAD = np.float32([8, 4, 2, 1, 0.5, 0.25, 0.125, 0.0625])
"""By how much the channels of every tensor differ."""

TEXT = """(float[n,3,8,8] x) => (float[n,4,8,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0) b = Relu(a)
    c = Conv(b, w1) s = Sigmoid(c) d = Mul(c, s)
    e = Conv(d, w2) f = Relu(e)
    g = Conv(f, w3) h = Relu(g)
    i = Conv(h, w4) j = Relu(i)
    y = Conv(j, w5)
}"""


def network():
    """ReLU, SiLU and three ReLUs between six layers; outputs beside the edges are not equalized."""
    rng = np.random.default_rng(3)
    shapes = [(8, 3, 3, 3), *[(8, 8, 1, 1)] * 4, (4, 8, 1, 1)]
    weights = [rng.normal(0, 1 / np.sqrt(np.prod(s[1:])), s).astype(np.float32) for s in shapes]
    weights[1:-1] = [weight * SPREAD.reshape(-1, 1, 1, 1) for weight in weights[1:-1]]
    return build_model(TEXT, **{f"w{i}": weight for i, weight in enumerate(weights)})


def pictures(seed=0):
    """Values as pixels could be."""
    return np.random.default_rng(seed).uniform(-1, 1, (4, 3, 8, 8)).astype(np.float32)


def moments_of(model):
    """What statistics would say: moments over pictures."""
    seen = values_of(model, "bdfh")
    return {
        name: ChannelMoments(
            array.mean(axis=(0, 2, 3)), array.var(axis=(0, 2, 3)), np.abs(array).max(axis=(0, 2, 3))
        )
        for name, array in seen.items()
    }


def values_of(model, names):
    """Tensors over the pictures, by name."""
    found = run_model(with_outputs(model, list(names)), x=pictures())
    return {name: array.astype(np.float64) for name, array in found.items()}


def forms_of(mode, act_bits=4, insert="auto"):
    """The network, and what equalization by its own pictures or statistics makes of it."""
    model = network()
    recipe = Recipe(equalization=mode, act_bits=act_bits, insert_factors=insert)
    batches = GivenBatches(pictures()[:2], pictures()[2:])
    return model, equalize(model, plan_of(recipe), batches, moments_of(model))


def equalized_of(mode, act_bits=4, insert="auto"):
    """The network and the one form of it that a mode other than auto asks for."""
    model, (form,) = forms_of(mode, act_bits, insert)
    return model, form


@pytest.mark.parametrize("insert", ["always", "never"])
@pytest.mark.parametrize("mode", ["statistics", "pictures", "auto"])
def test_the_function_stays(mode, insert):
    """Outputs are those of the float model, on other pictures; the model itself is untouched."""
    model, forms = forms_of(mode, insert=insert)
    x = pictures(seed=1)
    expected = run_model(model, x=x)
    for form in forms[1:] if mode == "auto" else forms:
        assert relative_error(expected, run_model(form.model, x=x)) < 1e-5
        assert form.factors
        assert operator_types(form.model).count("Mul") == (2 if insert == "always" else 1)
    assert operator_types(model) == operator_types(network())


def test_auto_leaves_it_open():
    """The model as it is, and factors smaller than the paper's by the headroom, never below 1."""
    model, (plain, roomy) = forms_of("auto")
    assert plain == Equalized(model)
    _, full = equalized_of("pictures")
    assert roomy.factors.keys() == full.factors.keys()
    for name, factors in roomy.factors.items():
        assert np.all(factors >= 1)
        assert np.all(factors <= full.factors[name] * (1 + 1e-9))
        assert factors.sum() < full.factors[name].sum()


def test_auto_without_a_channel_to_scale():
    """A network that equalization cannot touch has one form, and it is told why."""
    model = build_model(
        """(float[n,3,8,8] x) => (float[n,4,8,8] y) {
            a = Conv(x, w0) b = Relu(a) y = Conv(b, w1)
        }""",
        w0=np.ones((8, 3, 1, 1), np.float32),
        w1=np.ones((4, 8, 1, 1), np.float32),
    )
    recipe = Recipe(act_bits=4)
    (form,) = equalize(model, plan_of(recipe), GivenBatches(*[pictures()]), {})
    assert not form.factors
    assert set(form.refused) == {"make_a", "make_y"}


@pytest.mark.parametrize("mode", ["statistics", "pictures"])
def test_channels_come_nearer_to_each_other(mode):
    """The largest value of the smallest channel is no longer a hundredth of the tensor's."""
    model, equalized = equalized_of(mode)
    before, after = (values_of(m, "fh") for m in (model, equalized.model))
    for name, array in after.items():
        tops = [np.abs(a).max(axis=(0, 2, 3)) for a in (before[name], array)]
        spreads = [top.max() / top[top > 0].min() for top in tops]
        assert spreads[1] < spreads[0] / 8


def test_factors_are_those_of_the_tensors():
    """A tensor with a factor is so much larger, channel by channel; the output has none."""
    model, equalized = equalized_of("pictures")
    assert "y" not in equalized.factors
    names = [name for name in equalized.factors if name in "bdefgh"]
    assert {"f", "h"} <= set(names)
    before, after = (values_of(m, names) for m in (model, equalized.model))
    for name in names:
        expected = before[name] * equalized.factors[name].reshape(-1, 1, 1)
        np.testing.assert_allclose(after[name], expected, rtol=1e-4, atol=1e-6)


def test_scaled_means():
    """Means become those of the larger tensors, what an inserted product puts out included."""
    model, equalized = equalized_of("pictures")
    known = "bdfh"
    means = {name: a.mean(axis=(0, 2, 3)) for name, a in values_of(model, known).items()}
    scaled = equalized.scaled(means)
    (product,) = set(equalized.factors) - {v.name for n in model.graph for v in n.outputs}
    assert set(scaled) == {*known, product}
    for name, array in values_of(equalized.model, scaled).items():
        np.testing.assert_allclose(scaled[name], array.mean(axis=(0, 2, 3)), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(scaled["d"], means["d"])


def test_without_inserted_products_silu_refuses():
    """The layer is named with the function that carries no factor."""
    _, inserted = equalized_of("pictures", insert="always")
    _, plain = equalized_of("pictures", insert="never")
    assert "Sigmoid" in plain.refused["make_c"]
    assert "make_c" not in inserted.refused
    for equalized in (inserted, plain):
        assert "make_y" in equalized.refused
        assert not {"make_e", "make_g"} & set(equalized.refused)


@pytest.mark.parametrize(("mode", "act_bits"), [("none", 4), ("none", 8), ("auto", 8)])
def test_nothing_to_do(mode, act_bits):
    """Without equalization the model is the same object, and means stay what they are."""
    model, equalized = equalized_of(mode, act_bits=act_bits)
    assert equalized == Equalized(model)
    assert equalized.scaled({"b": np.ones(8)}).keys() == {"b"}


def test_unknown_statistics_are_refused():
    """Where the statistics of a tensor are not known, its layer keeps its scale and says so."""
    model = network()
    recipe = Recipe(equalization="statistics", act_bits=4)
    known = {name: m for name, m in moments_of(model).items() if name != "f"}
    (equalized,) = equalize(model, plan_of(recipe), GivenBatches(*[pictures()]), known)
    assert "not known" in equalized.refused["make_e"]
    assert "h" in equalized.factors
    assert "f" not in equalized.factors
