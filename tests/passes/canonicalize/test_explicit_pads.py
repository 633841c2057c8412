"""Paddings that are computed from sizes become numbers."""

import itertools

import numpy as np
import pytest

from passes import ExplicitPads

TOLERANCE = 1e-6  # of values about 1, in float32


def resolved(build, run, rng, kind, attributes, *, size, weight=None):
    """Run one operator before and after the pass; return both outputs and the node."""
    text = ", ".join(f"{k}={v}" for k, v in attributes.items())
    operands = "x" if weight is None else "x, w"
    model = build(
        f"(float[1,2,{size[0]},{size[1]}] x) => (float[n,c,h,v] y) "
        f"{{ y = {kind}<{text}>({operands}) }}",
        **({} if weight is None else {"w": weight}),
    )
    x = rng.normal(size=(1, 2, *size)).astype(np.float32)
    before = run(model, x=x)["y"]
    assert ExplicitPads()(model).modified
    assert not ExplicitPads()(model).modified
    node = model.graph[0]
    assert not {"auto_pad", "output_shape"} & node.attributes.keys()
    return before, run(model, x=x)["y"], node


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
def test_conv(build, run, rng, auto):
    """For sizes and strides that pad evenly, unevenly and not at all."""
    for height, kernel, stride in itertools.product((7, 8, 9), (1, 2, 3), (1, 2, 3)):
        weight = rng.normal(size=(3, 2, kernel, 4)).astype(np.float32)
        attributes = {"auto_pad": f'"{auto}"', "strides": [stride, 1]}
        before, after, _ = resolved(
            build, run, rng, "Conv", attributes, size=(height, 8), weight=weight
        )
        np.testing.assert_allclose(after, before, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
def test_dilated_conv(build, run, rng, auto):
    """ONNX Runtime refuses dilations with SAME: there the size of the output must be ⌈n/s⌉."""
    for size, stride in itertools.product((7, 8), (1, 2)):
        model = build(
            f'(float[1,2,{size},8] x) => (float[n,c,h,v] y) {{ y = Conv<auto_pad="{auto}", '
            f"strides=[{stride},1], dilations=[2,2]>(x, w) }}",
            w=rng.normal(size=(3, 2, 3, 3)).astype(np.float32),
        )
        assert ExplicitPads()(model).modified
        x = rng.normal(size=(1, 2, size, 8)).astype(np.float32)
        assert run(model, x=x)["y"].shape == (1, 3, -(-size // stride), 8)


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "LpPool"])
def test_pools(build, run, rng, kind, auto):
    """Pools pad by the same rule; what an average counts does not change."""
    for size, kernel, stride in itertools.product((7, 8), (2, 3), (1, 2)):
        attributes = {
            "auto_pad": f'"{auto}"',
            "kernel_shape": [kernel, kernel],
            "strides": [stride, stride],
        }
        before, after, _ = resolved(build, run, rng, kind, attributes, size=(size, 8))
        np.testing.assert_allclose(after, before, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "NOTSET"])
def test_transposed_conv_of_given_size(build, run, rng, auto):
    """Padding takes away what is too much; ``output_padding`` adds what is missing."""
    for kernel, stride, dilation, more in itertools.product(
        (1, 2, 3, 4), (1, 2, 3), (1, 2), (-1, 0, 1)
    ):
        reached = 4 * stride + (kernel - 1) * dilation + 1
        height = 5 * stride + more
        if height - reached >= stride:
            continue
        attributes = {
            "auto_pad": f'"{auto}"',
            "strides": [stride, 1],
            "dilations": [dilation, 1],
            "output_shape": [height, 4],
        }
        weight = rng.normal(size=(2, 3, kernel, 3)).astype(np.float32)
        before, after, node = resolved(
            build, run, rng, "ConvTranspose", attributes, size=(5, 4), weight=weight
        )
        assert after.shape == (1, 3, height, 4)
        np.testing.assert_allclose(after, before, rtol=0, atol=TOLERANCE)
        assert ("output_padding" in node.attributes) == (height > reached)


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
def test_transposed_conv_of_the_same_size(build, run, rng, auto):
    """Without a size the output is ``stride`` times the input."""
    for kernel, stride, added in itertools.product((2, 3, 4, 5), (1, 2), (0, 1)):
        if added >= stride or kernel < stride:
            continue
        attributes = {
            "auto_pad": f'"{auto}"',
            "strides": [stride, stride],
            "output_padding": [added, 0],
        }
        weight = rng.normal(size=(2, 3, kernel, kernel)).astype(np.float32)
        before, after, _ = resolved(
            build, run, rng, "ConvTranspose", attributes, size=(5, 4), weight=weight
        )
        assert after.shape == (1, 3, 5 * stride, 4 * stride)
        np.testing.assert_allclose(after, before, rtol=0, atol=TOLERANCE)


DECLINED = {
    "an unknown size": """(float[1,2,h,8] x) => (float[n,c,o,p] y) {
        y = Conv<auto_pad="SAME_UPPER">(x, w) }""",
    "sizes beyond the inputs": """(float[1,2,5,4] x) => (float[n,c,o,p] y) {
        y = ConvTranspose<strides=[2,2], output_shape=[13,10]>(x, w) }""",
    "pads as numbers": """(float[1,2,5,4] x) => (float[n,c,o,p] y) {
        y = Conv<pads=[1,1,1,1]>(x, w) }""",
}


@pytest.mark.parametrize("graph", DECLINED.values(), ids=DECLINED.keys())
def test_what_is_not_known_stays(build, rng, graph):
    """Each of the declined cases."""
    model = build(graph, w=rng.normal(size=(2, 2, 3, 3)).astype(np.float32))
    before = dict(model.graph[0].attributes)
    assert not ExplicitPads()(model).modified
    assert model.graph[0].attributes == before


def test_a_same_transposed_conv_out_of_reach_stays(build, rng):
    """ONNX says n·s outputs, ONNX Runtime makes fewer: nobody decides that here."""
    model = build(
        """(float[1,2,5,4] x) => (float[n,c,o,p] y) {
            y = ConvTranspose<strides=[3,3], auto_pad="SAME_UPPER">(x, w) }""",
        w=rng.normal(size=(2, 2, 1, 1)).astype(np.float32),
    )
    assert not ExplicitPads()(model).modified
