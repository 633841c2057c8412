"""Which layers pictures are matched to, and in what batches."""

import logging

import numpy as np
import pytest

from tests.passes.helpers import build_model
from tests.zqc.synthesis.small_nets import NET, PICTURE, net, parameters
from zqc.errors import UnsupportedOperatorError
from zqc.pictures.input_format import InputFormat
from zqc.progress import Silent
from zqc.statistics.batchnorm import harvest
from zqc.synthesis.generate import synthesize
from zqc.synthesis.loop import Schedule
from zqc.synthesis.reach import reach_of

BLOCKED = NET.replace("c2 = Conv(r1, w2)", "odd = Hardmax(r1)\n    c2 = Conv(odd, w2)")
FIRST = NET.replace(
    "c1 = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w1)",
    """odd = Hardmax(x)
    c1 = Conv<pads=[1,1,1,1], strides=[2,2]>(odd, w1)""",
)


def reach(model):
    """Of the small nets."""
    return reach_of(model, harvest(model), PICTURE, threads=1)


def test_a_network_of_known_operators_is_reached_as_a_whole(rng, caplog):
    """Every layer counts, any batch will do, and nothing is said."""
    found = reach(net(rng))
    assert [layer.output for layer in found.layers] == ["n1", "n2"]
    assert (found.known, found.obstacles, found.batch, found.shortfall) == (2, (), None, "")
    schedule = Schedule(5, 3)
    assert found.schedule(schedule) is schedule
    assert not caplog.records


def test_an_operator_without_a_gradient_cuts_off_what_is_behind_it(rng, caplog):
    """The layer before it is matched; one line says how many are not, and for what."""
    with caplog.at_level(logging.WARNING):
        found = reach(net(rng, BLOCKED))
    assert [layer.output for layer in found.layers] == ["n1"]
    assert found.shortfall == (
        "matched 1 of 2 normalised layers; not reached: what needs the gradient of "
        "Hardmax 'make_odd'"
    )
    assert [record.getMessage() for record in caplog.records] == [found.shortfall]


def test_a_form_that_a_rule_refuses_cuts_off_as_well(rng):
    """Not only operators without a rule: an exponent that is computed from the picture, here."""
    text = NET.replace("r1 = Relu(n1)", "mean = ReduceMean<keepdims=0>(n1)\n    r1 = Pow(n1, mean)")
    assert reach(net(rng, text)).obstacles == ("Pow 'make_r1'",)


def test_a_layer_behind_a_comparison_is_not_reached(rng):
    """It has no gradient at all, although every operator before it has a rule or needs none."""
    text = NET.replace(
        "c2 = Conv(r1, w2)",
        "m = Greater(r1, n1)\n    odd = Cast<to=1>(m)\n    c2 = Conv(odd, w2)",
    )
    found = reach(net(rng, text))
    assert [layer.output for layer in found.layers] == ["n1"]
    assert found.obstacles == ("Greater 'make_m'",)


def test_a_layer_that_no_picture_changes_is_not_reached(rng):
    """A normalised constant has statistics, too."""
    text = NET.replace("c2 = Conv(r1, w2)", "c2 = Conv(still, w2)")
    found = reach(net(rng, text, still=np.ones((1, 6, 8, 6), np.float32)))
    assert found.shortfall.endswith("not reached: what no picture changes")
    assert found.required() is found


def test_where_no_picture_changes_anything_the_error_says_so(rng):
    """All that is normalised are constants: no operator is to blame."""
    text = NET.replace("(x, w1)", "(dark, w1)")
    found = reach(net(rng, text, dark=np.ones((1, 3, 16, 12), np.float32)))
    assert found.shortfall.endswith("2 normalised layers, which do not depend on the picture")
    with pytest.raises(UnsupportedOperatorError, match="do not depend on the picture; give"):
        found.required()


def test_a_layer_beside_the_obstacle_is_reached(rng):
    """What counts is what a layer is computed from, not where it stands in the file."""
    text = NET.replace("c2 = Conv(r1, w2)", "odd = Hardmax(r1)\n    c2 = Conv(r1, w2)")
    assert len(reach(net(rng, text)).layers) == 2


def test_where_no_layer_can_be_reached_the_error_names_operator_and_remedies(rng, caplog):
    """Nothing is synthesised from nothing; whoever can do without is told why, and not warned."""
    found = reach(net(rng, FIRST))
    assert (found.layers, found.known, caplog.records) == ((), 2, [])
    assert found.shortfall == (
        "pictures cannot be matched to any of the 2 normalised layers, "
        "which need the gradient of Hardmax 'make_odd'"
    )
    with pytest.raises(UnsupportedOperatorError) as info:
        found.required()
    for part in ("any of the 2", "Hardmax 'make_odd'", "--images", "--no-statistics"):
        assert part in str(info.value)


@pytest.mark.parametrize(("batch", "samples"), [(1, 3), (4, 4)])
def test_a_model_of_a_fixed_batch_is_matched_in_full_batches_of_it(rng, batch, samples):
    """A Resize to the sizes of the batch keeps it, so that pictures are as on their own.

    The pooled moments of the finished pictures are those that the loss ended with (1e-4).
    """
    text = NET.replace("float[N,3", f"float[{batch},3").replace(
        "r1 = Relu(n1)",
        """r1 = Relu(n1)
        half = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r1)
        same = Resize<mode="linear">(half, , , sizes)
        r2 = Add(r1, same)""",
    )
    text = text.replace("Conv(r1, w2)", "Conv(r2, w2)")
    model = build_model(text, opset=17, sizes=np.array([batch, 6, 8, 6]), **parameters(rng))
    found = reach(model)
    schedule = found.schedule(Schedule(3, 4))
    assert (found.batch, schedule.sizes) == (batch, [batch] * (samples // batch))
    made = synthesize(
        model,
        found.layers,
        picture=PICTURE,
        input_format=InputFormat(),
        schedule=schedule,
        progress=Silent(),
        threads=1,
    )
    assert made.tensors.shape == (samples, *PICTURE)
    assert made.last_loss < made.first_loss


def test_windows_along_the_batch_are_measured_as_parts_of_a_picture(rng):
    """A BatchNorm behind a window partition sees the same mean as before it (1e-5)."""
    text = """(float[1,3,16,12] x) => (float[a,b,c,d] y) {
        c1 = Conv(x, w1)
        n1 = BatchNormalization<epsilon=0.001>(c1, g, b, m, v)
        cut = Reshape(n1, blocks)
        moved = Transpose<perm=[0,2,4,1,3,5]>(cut)
        win = Reshape(moved, windows)
        y = BatchNormalization<epsilon=0.001>(win, one, zero, zero, one)
    }"""
    arrays = {"w1": rng.normal(0, 0.4, (4, 3, 1, 1)), "g": np.ones(4), "b": np.zeros(4)}
    arrays |= {"m": np.zeros(4), "v": np.ones(4), "one": np.full(4, 1.0), "zero": np.zeros(4)}
    model = build_model(
        text,
        opset=17,
        blocks=np.array([1, 4, 4, 4, 3, 4]),
        windows=np.array([12, 4, 4, 4]),
        **{name: array.astype(np.float32) for name, array in arrays.items()},
    )
    found = reach(model)
    made = synthesize(
        model,
        found.layers,
        picture=PICTURE,
        input_format=InputFormat(),
        schedule=found.schedule(Schedule(2, 1)),
        progress=Silent(),
        threads=1,
    )
    means, seconds = made.state.pooled()
    factor = 1 / np.sqrt(1.001)
    np.testing.assert_allclose(means[4:], means[:4] * factor, rtol=1e-5)
    np.testing.assert_allclose(seconds[4:], seconds[:4] * factor**2, rtol=1e-5)
