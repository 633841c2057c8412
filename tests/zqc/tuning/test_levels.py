"""Weights on levels as nodes that a gradient goes through."""

import numpy as np
import onnx_ir as ir
import pytest

from passes.analysis.log_affine import WIDTHS, level_sets
from tests.passes.helpers import run_model
from zqc.autodiff.emitter import Emitter, float_input
from zqc.autodiff.engine import backward
from zqc.tuning.levels import Levels


def on_levels(rng, bits):
    """A kernel of which every channel stands on levels of its own, and their sets."""
    sets = rng.integers(0, len(level_sets(bits)), 6)
    places = rng.integers(0, 1 << bits, (6, 45))
    places[:, 0] = (1 << bits) - 1
    rows = np.take_along_axis(level_sets(bits)[sets], places, axis=1)
    return rows.reshape(6, 5, 3, 3).astype(np.float64)


@pytest.mark.parametrize("bits", WIDTHS)
def test_same_as_a_search(bits, rng):
    """The graph and the arithmetic find the level that is nearest to the rounded integer."""
    integers = on_levels(rng, bits)
    levels = Levels.of(integers, 0, bits)
    start = (integers / levels.stretch).astype(np.float32)
    value = float_input("w", start.shape)
    graph = ir.Graph([value], [], nodes=[], opset_imports={"": 18}, name="levels")
    emitter = Emitter(graph)
    graph.outputs.append(emitter.named(levels.emit(emitter, value, "w"), "y"))
    graph.outputs[0].shape = value.shape
    model = ir.Model(graph, ir_version=9)
    np.testing.assert_array_equal(run_model(model, w=start)["y"], integers)
    moved = start + rng.uniform(-3, 3, start.shape).astype(np.float32)
    found = run_model(model, w=moved)["y"]
    np.testing.assert_array_equal(found, levels.nearest(moved.astype(np.float64)))
    sets = level_sets(bits)[levels.sets.reshape(-1)].astype(np.float64)
    near = np.rint(moved.astype(np.float64) * levels.stretch).reshape(6, -1)
    away = np.abs(near[..., None] - sets[:, None, :]).min(axis=-1)
    np.testing.assert_array_equal(np.abs(near - found.reshape(6, -1)), away)

    seed = emitter.array(np.ones((), np.float32), "seed")
    (gradient,) = backward(model, {graph.outputs[0]: seed}, [value])
    graph.outputs.append(gradient)
    exact = moved.astype(np.float64).reshape(6, -1) * levels.stretch
    inside = (exact > sets[:, :1] - 0.49) & (exact < sets[:, -1:] + 0.49)
    slope = run_model(model, w=moved)[gradient.name].reshape(6, -1)
    np.testing.assert_array_equal(slope, np.where(inside, levels.stretch, 0))


def test_a_grid_has_no_levels(rng):
    """Integers of a grid of so many bits, and those of 8 bits, are rounded like any other."""
    assert Levels.of(rng.integers(-8, 8, (4, 50)).astype(np.float64), 0, 4) is None
    assert Levels.of(on_levels(rng, 4), 0, 8) is None
    assert Levels.of(rng.integers(-60, 60, (4, 50)).astype(np.float64), 0, 4) is None
