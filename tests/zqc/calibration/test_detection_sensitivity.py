"""What is found of a network, against closed forms where every value has one output."""

from types import SimpleNamespace

import numpy as np
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from tests.passes.helpers import build_model, run_model
from zqc.calibration.detection_sensitivity import detection_sensitivities
from zqc.calibration.sensitivity import sensitivities
from zqc.calibration.squared_gradients import together
from zqc.detection.losses.candidates import Candidates
from zqc.detection.losses.writing import Pen

SIDE = 3
NET = """(float[n,5,3,3] x) => (float[n,9,k] out) {
    a = Conv(x, w)
    flat = Reshape(a, shape)
    out = Transpose<perm = [0, 2, 1]>(flat)
}"""


@pytest.fixture
def model(rng):
    """Four sides of a box, an objectness and three classes at each of nine places."""
    model = build_model(
        NET.replace("k]", "8]"),
        w=rng.normal(size=(8, 5, 1, 1)).astype(np.float32),
        shape=np.array([0, 8, 9], np.int64),
    )
    return ShapeInferencePass()(model).model


def detector(*, objectness=False, background=None, picked=False, outputs=("out",)):
    """Reads sides, objectness and classes as they stand, the sides apart by some pixels."""

    def read(emitter, values):
        pen = Pen(emitter, "read")
        rows = values["out"]
        apart = pen.array([0, 0, 8, 12])
        return Candidates(
            pen.shaped(pen("Add", pen.part(rows, 0, 4), apart), 1, 9, 4),
            pen.shaped(pen.part(rows, 5, 8), 1, 9, 3),
            pen.shaped(pen.part(rows, 4, 5), 1, 9, 1) if objectness else None,
            background=background,
        )

    return SimpleNamespace(outputs=outputs, picked=picked, read=read)


def sigmoid(values):
    """1 / (1 + e⁻ˣ)."""
    return 1 / (1 + np.exp(-values))


@pytest.fixture
def pictures(rng):
    """Five pictures, in batches of three and two."""
    values = rng.normal(size=(5, 5, SIDE, SIDE)).astype(np.float32)
    return [values[:3], values[3:]]


@pytest.mark.parametrize("objectness", [False, True])
def test_squares_are_those_of_the_loss_of_agreement(model, pictures, objectness):
    """Boxes count s/T over the size squared, classes o·p(1 − p)/2T, objectness alike: to 1e-4."""
    boxes, classes = detection_sensitivities(
        model, ["a"], [], pictures, detector(objectness=objectness), seed=0, threads=1
    )
    rows = run_model(model, x=np.concatenate(pictures))["out"].astype(np.float64)
    sides = rows[..., :4] + [0, 0, 8, 12]
    there = sigmoid(rows[..., 4:5]) if objectness else 1.0
    likely = sigmoid(rows[..., 5:])
    score = (likely * there).max(axis=-1, keepdims=True)
    share = np.maximum(score.sum(axis=1, keepdims=True), 1)
    size = np.maximum(np.tile(sides[..., 2:] - sides[..., :2], 2), 1)
    expected = (score / share / size**2).sum(axis=1).mean(axis=0)
    np.testing.assert_allclose(boxes["a"].fisher_diagonal, [*expected, 0, 0, 0, 0], rtol=1e-4)
    wide = np.broadcast_to(there, score.shape)
    spread = np.concatenate([wide * (1 - wide), likely * (1 - likely) * wide], axis=-1)
    expected = (spread / (2 * share)).sum(axis=1).mean(axis=0)
    found = classes["a"].fisher_diagonal
    np.testing.assert_allclose(found, [0, 0, 0, 0, *expected], rtol=1e-4)
    assert boxes["a"].squares.counts.sum() == pytest.approx(5 * boxes["a"].fisher_diagonal.sum())


def test_competing_classes_count_by_their_softmax(model, pictures):
    """p(1 − p) of the softmax over T of the classes alone, the background apart: to 1e-4."""
    of = detector(background="first")
    _, classes = detection_sensitivities(model, ["a"], [], pictures, of, seed=0, threads=1)
    logits = run_model(model, x=np.concatenate(pictures))["out"].astype(np.float64)[..., 5:]
    likely = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    score = likely[..., 1:].max(axis=-1, keepdims=True)
    share = np.maximum(score.sum(axis=1, keepdims=True), 1)
    expected = (likely * (1 - likely) / (2 * share)).sum(axis=1).mean(axis=0)
    np.testing.assert_allclose(classes["a"].fisher_diagonal[5:], expected, rtol=1e-4)


@pytest.mark.parametrize("of", [detector(picked=True), detector(outputs=("elsewhere",))])
def test_without_candidates_that_stay_there_is_nothing(model, pictures, of):
    """Queries picked by their values, or an output that the graph lacks: outputs count alone."""
    assert detection_sensitivities(model, ["a"], [], pictures, of, seed=0, threads=1) == ()
    alone = sensitivities(model, ["x", "a"], pictures, seed=0, threads=1)
    found = sensitivities(model, ["x", "a"], pictures, detector=of, seed=0, threads=1)
    np.testing.assert_array_equal(found["a"].fisher_diagonal, alone["a"].fisher_diagonal)


def test_outputs_boxes_and_classes_count_the_same(model, pictures):
    """With a detector, sensitivities are the mean of three parts with one loss: to 1e-9."""
    of = detector(objectness=True)
    found = sensitivities(model, ["x", "a"], pictures, detector=of, seed=0, threads=1)
    outputs = sensitivities(model, ["x", "a"], pictures, seed=0, vectors=1, threads=1)
    parts = detection_sensitivities(model, ["x", "a"], [], pictures, of, seed=0, threads=1)
    expected = together([outputs, *parts])
    for name in ("x", "a"):
        diagonals = found[name].fisher_diagonal, expected[name].fisher_diagonal
        np.testing.assert_allclose(*diagonals, rtol=1e-9)
    assert found["a"].fisher_diagonal[:4].sum() > outputs["a"].fisher_diagonal[:4].sum()
