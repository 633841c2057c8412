"""ConvTranspose as Conv and DepthToSpace."""

import itertools

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx_ir.passes.common import ShapeInferencePass

from passes import ConvTransposeToConv
from passes.canonicalize.conv_transpose_to_conv import why_not
from tests.passes.helpers import build_model, operator_types, run_model


def transposed(rng, *, kernel=(2, 2), group=1, bias=True, size=(5, 4), **attributes):
    """Return the model of one ConvTranspose from 6 to 4 channels, its weight and its bias."""
    attributes = {"strides": [2, 2], "group": group} | attributes
    text = ", ".join(
        f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}"
        for key, value in attributes.items()
    )
    arrays = {"w": rng.normal(size=(6, 4 // group, *kernel)).astype(np.float32)}
    if bias:
        arrays["b"] = rng.normal(size=4).astype(np.float32)
    model = build_model(
        f"""(float[N,6,{size[0]},{size[1]}] x) => (float[N,4,h,w_out] y) {{
            y = ConvTranspose<{text}>(x, w{", b" if bias else ""})
        }}""",
        **arrays,
    )
    return model, arrays["w"], arrays.get("b")


GEOMETRIES = [
    (stride, kernel, pad, more)
    for stride, kernel, pad, more in itertools.product(
        (1, 2, 3), (1, 2, 3, 4, 5, 7), (0, 1, 2), (0, 1)
    )
    if kernel > pad and kernel >= stride and more < stride and 4 * (stride - 1) + kernel > 2 * pad
]


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize(("stride", "kernel", "pad", "more"), GEOMETRIES)
def test_every_geometry_equals_pytorch(rng, stride, kernel, pad, more, group):
    """The rewritten graph gives what PyTorch's transposed convolution gives, shapes included."""
    model, weight, bias = transposed(
        rng,
        kernel=(kernel, kernel),
        strides=[stride, stride],
        pads=[pad] * 4,
        output_padding=[more, more],
        group=group,
    )
    assert ConvTransposeToConv()(model).modified
    assert "ConvTranspose" not in operator_types(model)
    x = rng.normal(size=(2, 6, 5, 4)).astype(np.float32)
    expected = torch.nn.functional.conv_transpose2d(
        *map(torch.from_numpy, (x, weight, bias)),
        stride=stride,
        padding=pad,
        output_padding=more,
        groups=group,
    ).numpy()
    actual = run_model(model, x=x)["y"]
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_unequal_sides(rng):
    """Kernels, paddings and output paddings of each side count on their own."""
    for kernel, pads, more in (
        ((3, 4), [0, 1, 1, 0], [1, 0]),
        ((2, 5), [1, 0, 0, 2], [0, 1]),
        ((4, 2), [1, 1, 2, 0], [0, 1]),
    ):
        model, *_ = transposed(rng, kernel=kernel, pads=pads, output_padding=more, bias=False)
        x = rng.normal(size=(1, 6, 5, 4)).astype(np.float32)
        expected = run_model(model, x=x)["y"]
        assert ConvTransposeToConv()(model).modified
        np.testing.assert_allclose(run_model(model, x=x)["y"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "pad", "more", "operators", "shape"),
    [
        (2, 0, 0, ["Conv", "DepthToSpace"], (16, 6, 1, 1)),
        (3, 1, 1, ["Conv", "DepthToSpace"], (16, 6, 2, 2)),
        (3, 1, 0, ["Conv", "DepthToSpace", "Slice"], (16, 6, 2, 2)),
        (4, 1, 0, ["Conv", "DepthToSpace", "Slice"], (16, 6, 2, 2)),
    ],
)
def test_what_is_written(rng, kernel, pad, more, operators, shape):
    """A kernel of k taps and stride 2 becomes one of ⌈k/2⌉, and is sliced only where it must be."""
    model, *_ = transposed(
        rng, kernel=(kernel, kernel), pads=[pad] * 4, output_padding=[more, more]
    )
    ConvTransposeToConv()(model)
    assert operator_types(model) == operators
    conv = model.graph[0]
    assert conv.name == "make_y"
    assert conv.inputs[1].const_value.numpy().shape == shape
    ShapeInferencePass()(model)
    growth = 2 * 4 + kernel + more - 2 * pad
    assert list(model.graph.outputs[0].shape)[1:3] == [4, growth]


@pytest.mark.parametrize(
    "declined",
    [
        {"dilations": [2, 2], "kernel": (3, 3)},
        {"strides": [2, 1]},
        {"auto_pad": "SAME_UPPER"},
        {"output_shape": [10, 8]},
        {"kernel": (1, 1)},
        {"strides": [5, 5], "kernel": (5, 5), "group": 2},
        {"kernel": (2, 2), "strides": [1, 1], "pads": [2, 2, 2, 2]},
    ],
)
def test_declined(rng, declined):
    """What cannot be written so, or would be mostly zeros, stays as it is."""
    model, *_ = transposed(rng, **declined)
    assert not ConvTransposeToConv()(model).modified
    assert operator_types(model) == ["ConvTranspose"]


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "pads"),
    [
        (3, 1, 2, [2, 2, 2, 2]),
        (3, 1, 3, [0, 1, 6, 2]),
        (2, 1, 2, [1, 1, 1, 1]),
        (2, 2, 3, [1, 1, 1, 1]),
        (3, 2, 3, [3, 3, 3, 3]),
    ],
)
def test_dilations_equal_pytorch(rng, kernel, stride, dilation, pads, group):
    """At stride 1 the Conv has them; else the kernel is spread out, where that does not waste."""
    model, weight, bias = transposed(
        rng,
        kernel=(kernel, kernel),
        strides=[stride] * 2,
        dilations=[dilation] * 2,
        pads=pads,
        group=group,
    )
    x = rng.normal(size=(2, 6, 5, 4)).astype(np.float32)
    expected = torch.nn.functional.conv_transpose2d(
        *map(torch.from_numpy, (x, weight, bias)), stride=stride, groups=group, dilation=dilation
    ).numpy()
    height, width = expected.shape[2:]
    expected = expected[:, :, pads[0] : height - pads[2], pads[1] : width - pads[3]]
    changed = ConvTransposeToConv()(model).modified
    assert changed == (stride == 1 or not why_not(model.graph[0]))
    if stride == 1:
        assert operator_types(model) == ["Conv"]
        assert model.graph[0].attributes["dilations"].as_ints() == (dilation,) * 2
        assert model.graph[0].inputs[1].const_value.shape[2:] == (kernel, kernel)
    np.testing.assert_allclose(run_model(model, x=x)["y"], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"dilations": [2, 2], "kernel": (3, 3)}, "dilations"),
        ({"kernel": (1, 1), "strides": [3, 3]}, "strides"),
        ({"strides": [2, 1]}, "strides"),
        ({"auto_pad": "SAME_UPPER"}, "auto_pad"),
        ({"output_shape": [10, 8]}, "output_shape"),
    ],
)
def test_the_reason_names_the_attribute(rng, attributes, named):
    """What keeps a ConvTranspose one is said by the name that users find in their export."""
    model, *_ = transposed(rng, **attributes)
    assert named in why_not(model.graph[0])


def test_groups(rng):
    """Each phase of a grouped layer becomes a Conv of the same groups, the first with its name."""
    model, *_ = transposed(rng, group=2)
    ConvTransposeToConv()(model)
    assert operator_types(model) == ["Conv"] * 4 + ["Concat", "DepthToSpace"]
    assert [node.attributes["group"].as_int() for node in list(model.graph)[:4]] == [2] * 4
    assert [node.name for node in list(model.graph)[:2]] == ["make_y", "make_y_2"]


def test_computed_weights_stay(rng):
    """A weight or a bias that is no constant is declined."""
    model = build_model(
        """(float[1,2,3,3] x, float[2,2,2,2] w, float[2] b) => (float[1,2,h,w_out] y) {
            y = ConvTranspose<strides=[2,2]>(x, w, b)
        }"""
    )
    assert not ConvTransposeToConv()(model).modified
    assert isinstance(model.graph[0], ir.Node)
