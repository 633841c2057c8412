"""Windows and smoothing against numpy and PyTorch, and their ways back against inner products."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx_ir.tape import Tape

from tests.zqc.synthesis.pytorch_twin import smoothed
from zqc.runtime import session
from zqc.synthesis.augmentation import (
    Smoothing,
    Windows,
    central_places,
    places,
    random_places,
)

CANVAS = (3, 2, 9, 11)


def tensor(name, shape):
    """A float input."""
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))


def runner(part, inputs, shapes, opset):
    """Run forward on ``x`` and backward on ``y``; ``part`` makes what has both on a tape."""
    x, y = (tensor(name, shape) for name, shape in zip("xy", shapes, strict=True))
    graph = ir.Graph([x, y], [], nodes=[], opset_imports={"": opset}, name="augment")
    tape = Tape(graph)
    made = part(tape)
    graph.inputs.extend(inputs(made))
    for name, value, shape in (
        ("forward", made.forward(tape, x), shapes[1]),
        ("backward", made.backward(tape, y), shapes[0]),
    ):
        value.name, value.shape = name, ir.Shape(shape)
        value.type = ir.TensorType(ir.DataType.FLOAT)
        graph.outputs.append(value)
    return session.load(ir.Model(graph, ir_version=8), threads=1)


def cutter(canvas, margin, opset=13):
    """Windows as a function of x, y and places."""
    window = (*canvas[:2], canvas[2] - margin, canvas[3] - margin)
    return runner(
        lambda tape: Windows.of(tape, canvas[0]),
        lambda made: made.inputs.values(),
        (canvas, window),
        opset,
    )


def smoother(shape, opset=13):
    """Smoothing as a function of x and y."""
    return runner(lambda tape: Smoothing.of(tape, shape), lambda made: (), (shape, shape), opset)


def drawn(rng, *shapes):
    """Random x and y."""
    return (rng.normal(size=shape).astype(np.float32) for shape in shapes)


@pytest.mark.parametrize("opset", [13, 18, 21])
@pytest.mark.parametrize("margin", [0, 1, 4])
@pytest.mark.parametrize("mirrored", [(0, 0, 0), (1, 1, 1), (0, 1, 0)])
def test_windows_are_slices(rng, margin, mirrored, opset):
    """A window is what slicing in numpy cuts, at both ends and between, mirrored or not."""
    height, width = CANVAS[2] - margin, CANVAS[3] - margin
    offsets = np.array([[0, margin], [margin, 0], [margin // 2, margin // 2]])
    x, y = drawn(rng, CANVAS, (*CANVAS[:2], height, width))
    where = places(offsets, np.array(mirrored, bool), (height, width), margin)
    got = cutter(CANVAS, margin, opset)({"x": x, "y": y, **where})
    back = np.zeros_like(x)
    for index, (top, left) in enumerate(offsets):
        step = -1 if mirrored[index] else 1
        area = (slice(None), slice(top, top + height), slice(left, left + width))
        np.testing.assert_array_equal(got["forward"][index], x[index][area][:, :, ::step])
        back[index][area] = y[index][:, :, ::step]
    np.testing.assert_array_equal(got["backward"], back)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("margin", [0, 3])
def test_the_way_back_from_windows_is_the_adjoint(rng, count, margin):
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for random places (1e-5 of the norms)."""
    canvas, size = (count, 3, 8, 10), (8 - margin, 10 - margin)
    run = cutter(canvas, margin)
    for _ in range(5):
        x, y = drawn(rng, canvas, (*canvas[:2], *size))
        got = run({"x": x, "y": y, **random_places(rng, count, size, margin, flip=True)})
        there, back = np.vdot(got["forward"], y), np.vdot(x, got["backward"])
        assert abs(there - back) <= 1e-5 * np.linalg.norm(x) * np.linalg.norm(y)
        assert abs(there) > 1e-3


@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (1, 1, 3, 9), (3, 2, 8, 3)])
def test_smoothing_is_that_of_pytorch_and_its_way_back_the_adjoint(rng, shape):
    """3×3 Gaussian over the pixels that exist (1e-6), and ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ (1e-5)."""
    x, y = drawn(rng, shape, shape)
    got = smoother(shape)({"x": x, "y": y})
    expected = smoothed(torch.tensor(x, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(got["forward"], expected, atol=1e-6 * np.abs(x).max())
    there, back = np.vdot(got["forward"], y), np.vdot(x, got["backward"])
    assert abs(there - back) <= 1e-5 * np.linalg.norm(x) * np.linalg.norm(y)
    # Not symmetric as a whole: at borders the share comes after or before the Conv.
    assert np.abs(smoother(shape)({"x": y, "y": y})["forward"] - got["backward"]).max() > 1e-3


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_constant_pictures_stay_constant(level):
    """Smoothing keeps the brightness up to the last pixel of the border (1e-6)."""
    pictures = np.full((2, 3, 5, 7), level, np.float32)
    got = smoother(pictures.shape)({"x": pictures, "y": pictures})
    np.testing.assert_allclose(got["forward"], pictures, atol=1e-6)


def test_pictures_of_a_batch_have_different_windows(rng):
    """Drawn per picture: rows, columns and sides all differ within one batch."""
    where = random_places(rng, 256, (6, 7), 4, flip=True)
    assert len(np.unique(where["pads"][:, 2:4], axis=0)) == 25
    assert set(where["steps"][:, 2]) == {-1, 1}
    assert set(where["pads"][:, 2]) == set(where["pads"][:, 3]) == set(range(5))


def test_windows_are_drawn_evenly(rng):
    """Each of the offsets in either direction, and each side, has its share (5 sigma)."""
    count, margin = 20_000, 3
    where = random_places(rng, count, (6, 7), margin, flip=True)
    for axis in (2, 3):
        shares = np.bincount(where["pads"][:, axis], minlength=margin + 1) / count
        assert np.abs(shares - 1 / 4).max() < 5 * np.sqrt(0.25 * 0.75 / count)
    assert abs(np.mean(where["steps"][:, 2] < 0) - 0.5) < 5 * 0.5 / np.sqrt(count)


def test_without_flip_no_picture_is_mirrored_and_windows_stay(rng):
    """The option changes the sides and nothing else."""
    plain, turned = (
        random_places(np.random.default_rng(3), 50, (6, 7), 4, flip=flip) for flip in (False, True)
    )
    assert (plain["steps"][:, 2] == 1).all()
    np.testing.assert_array_equal(plain["pads"], turned["pads"])


@pytest.mark.parametrize("margin", [0, 1, 4, 5])
def test_central_windows_are_in_the_middle(rng, margin):
    """As much on either side, up to one pixel, and not mirrored."""
    canvas, size = (2, 1, 6 + margin, 7 + margin), (6, 7)
    x, y = drawn(rng, canvas, (2, 1, *size))
    got = cutter(canvas, margin)({"x": x, "y": y, **central_places(2, size, margin)})
    before = margin // 2
    expected = x[:, :, before : before + 6, before : before + 7]
    np.testing.assert_array_equal(got["forward"], expected)
