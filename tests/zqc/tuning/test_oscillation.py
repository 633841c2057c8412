"""The remedy against weights that swing."""

import numpy as np
import pytest

from tests.zqc.tuning.nets import BITS, networks
from zqc.autodiff.emitter import Emitter
from zqc.autodiff.engine import backward
from zqc.autodiff.shapes import infer_shapes
from zqc.runtime import session
from zqc.tuning.oscillation import dampening, dampening_share
from zqc.tuning.trainable import trainable


def test_weights_are_pulled_to_the_middle_of_their_bins(rng):
    """The slope is 24/n times the distance to the integer, by hand; biases have none."""
    _, quantized, _ = networks()
    opened = trainable(quantized, BITS, {"make_a": 1.0, "make_c": 1.0, "make_y": 1.0})
    infer_shapes(opened.model)
    emitter = Emitter(opened.model.graph)
    far, around = dampening(emitter, opened.parameters)
    seed = emitter.array(np.ones((), np.float32), "seed")
    values = [each.value for each in opened.parameters if not each.is_bias]
    slopes = backward(opened.model, {far: seed}, values, around=around)
    opened.model.graph.outputs[:] = [far, *slopes]
    feeds = {p.value.name: rng.uniform(-9, 9, p.start.shape) for p in opened.parameters}
    feeds = {name: array.astype(np.float32) for name, array in feeds.items()}
    feeds["x"] = np.zeros((2, 4, 8, 8), np.float32)
    got, *found = session.load(opened.model, threads=1)(feeds).values()
    weights = [each for each in opened.parameters if not each.is_bias]
    apart = [feeds[p.value.name] - p.integers(feeds[p.value.name]) for p in weights]
    count = sum(each.size for each in apart)
    assert float(got) == pytest.approx(12 * sum(np.square(a).sum() for a in apart) / count)
    for slope, each in zip(found, apart, strict=True):
        np.testing.assert_allclose(slope, 24 * each / count, rtol=1e-4, atol=1e-6)


def test_it_begins_in_the_middle_and_grows_to_the_end():
    """Nothing in the first half, all of it in the last step."""
    shares = [dampening_share(step, 10) for step in range(10)]
    assert shares[:5] == [0.0] * 5
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
