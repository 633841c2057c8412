"""The remedy against weights that swing."""

import numpy as np
import onnx_ir as ir
import pytest

from passes.analysis.log_affine import level_sets
from tests.zqc.tuning.nets import BITS, networks
from zqc.autodiff.emitter import Emitter, float_input
from zqc.autodiff.engine import backward
from zqc.autodiff.shapes import infer_shapes
from zqc.runtime import session
from zqc.tuning.levels import Levels
from zqc.tuning.oscillation import dampening, dampening_share
from zqc.tuning.trainable import Parameter, trainable


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


def test_on_levels_a_weight_is_pulled_to_its_level(rng):
    """The distance is that to the nearest level, in steps of a grid of so many bits."""
    integers = level_sets(4)[5][rng.integers(0, 16, (3, 80))].astype(np.float64)
    levels = Levels.of(integers, 0, 4)
    value = float_input("w", (3, 80))
    start = (integers / levels.stretch).astype(np.float32)
    one = Parameter("w_q", ("layer",), value, start, None, np.ones(()), (-8, 7), levels)
    graph = ir.Graph([value], [], nodes=[], opset_imports={"": 18}, name="levels")
    model = ir.Model(graph, ir_version=9)
    emitter = Emitter(graph)
    far, around = dampening(emitter, [one])
    seed = emitter.array(np.ones((), np.float32), "seed")
    (slope,) = backward(model, {far: seed}, [value], around=around)
    graph.outputs[:] = [far, slope]
    moved = start + rng.uniform(-1, 1, start.shape).astype(np.float32)
    got, found = session.load(model, threads=1)({"w": moved}).values()
    apart = moved - levels.nearest(moved.astype(np.float64)) / levels.stretch
    assert float(got) == pytest.approx(12 * np.square(apart).mean())
    np.testing.assert_allclose(found, 24 * apart / apart.size, rtol=1e-4, atol=1e-6)


def test_it_begins_in_the_middle_and_grows_to_the_end():
    """Nothing in the first half, all of it in the last step."""
    shares = [dampening_share(step, 10) for step in range(10)]
    assert shares[:5] == [0.0] * 5
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
