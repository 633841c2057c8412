"""Attributes are written out, and the function stays."""

import numpy as np
import onnx
import onnx_ir as ir

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


def test_valid_padding_is_none(build, run, rng):
    """VALID becomes zeros, and computes the same."""
    model = build(
        '(float[1,2,9,8] x) => (float[n,c,h,w] y) { y = Conv<auto_pad="VALID">(x, w) }',
        w=rng.normal(size=(3, 2, 3, 4)).astype(np.float32),
    )
    x = rng.normal(size=(1, 2, 9, 8)).astype(np.float32)
    expected = run(model, x=x)["y"]
    assert ExplicitConvolutions()(model).modified
    assert set(model.graph[0].attributes) == EVERYTHING
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)


def test_padding_that_depends_on_sizes_stays(build, rng):
    """SAME is left to ``ExplicitPads``, the other attributes are written."""
    model = build(
        '(float[1,2,9,8] x) => (float[n,c,o,p] y) { y = Conv<auto_pad="SAME_UPPER">(x, w) }',
        w=rng.normal(size=(3, 2, 3, 3)).astype(np.float32),
    )
    assert ExplicitConvolutions()(model).modified
    assert set(model.graph[0].attributes) == (EVERYTHING - {"pads"}) | {"auto_pad"}
