"""Attributes are written out, and the function stays."""

import itertools

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import ExplicitConvolutions

EVERYTHING = {"kernel_shape", "strides", "dilations", "group", "pads"}


def test_defaults_are_written(build, run, rng):
    """A Conv and a ConvTranspose without attributes get all of theirs and compute the same."""
    model = build(
        "(float[1,4,8,9] x) => (float[n,c,h,w] y) { a = Conv(x, w) y = ConvTranspose(a, v) }",
        w=rng.normal(size=(6, 4, 3, 5)).astype(np.float32),
        v=rng.normal(size=(6, 2, 2, 2)).astype(np.float32),
    )
    x = rng.normal(size=(1, 4, 8, 9)).astype(np.float32)
    expected = run(model, x=x)["y"]
    assert ExplicitConvolutions()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    conv, transposed = model.graph
    assert set(conv.attributes) == EVERYTHING
    assert set(transposed.attributes) == EVERYTHING | {"output_padding"}
    assert conv.attributes["kernel_shape"].as_ints() == (3, 5)
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)
    assert not ExplicitConvolutions()(model).modified


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_pads_become_numbers(build, run, rng, auto):
    """For sizes, strides and dilations that pad evenly, unevenly and not at all.

    ONNX Runtime refuses dilations with SAME: there the size of the output must be ⌈n/s⌉.
    """
    for height, kernel, stride, dilation in itertools.product((7, 8, 9), (1, 2, 3), (1, 2), (1, 2)):
        text = (
            f'(float[1,2,{height},8] x) => (float[n,c,h,w] y) {{ y = Conv<auto_pad="{auto}", '
            f"strides=[{stride},1], dilations=[{dilation},1]>(x, w) }}"
        )
        model = build(text, w=rng.normal(size=(3, 2, kernel, 4)).astype(np.float32))
        x = rng.normal(size=(1, 2, height, 8)).astype(np.float32)
        comparable = dilation == 1 or auto == "VALID"
        expected = run(model, x=x)["y"] if comparable else None
        assert ExplicitConvolutions()(model).modified
        assert set(model.graph[0].attributes) == EVERYTHING
        actual = run(model, x=x)["y"]
        if expected is None:
            assert actual.shape == (1, 3, -(-height // stride), 8)
        else:
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_what_cannot_be_known_stays(build, rng):
    """Automatic padding of an unknown size keeps its name, the other attributes are written."""
    model = build(
        '(float[1,2,h,w] x) => (float[n,c,o,p] y) { y = Conv<auto_pad="SAME_UPPER">(x, w) }',
        w=rng.normal(size=(3, 2, 3, 3)).astype(np.float32),
    )
    assert ExplicitConvolutions()(model).modified
    assert set(model.graph[0].attributes) == (EVERYTHING - {"pads"}) | {"auto_pad"}
