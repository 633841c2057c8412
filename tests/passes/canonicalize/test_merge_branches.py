"""Parallel linear branches that are added become one convolution."""

import itertools

import numpy as np
import pytest
import torch
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from passes import FoldBatchNorm, MergeBranches

TOLERANCE = 1e-5

NORM = ("gamma", "beta", "mean", "variance")
IDENTITY = "i = BatchNormalization(x, gamma, beta, mean, variance)"


def norm(rng, channels):
    """Parameters of a BatchNormalization."""
    gamma, beta, mean = rng.normal(size=(3, channels)).astype(np.float32)
    variance = rng.uniform(0.5, 2, channels).astype(np.float32)
    return dict(zip(NORM, (gamma, beta, mean, variance), strict=True))


def kernel(rng, *shape):
    """Weights that keep a tensor's size of values."""
    return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def merged(build, run, error, rng, body, *, channels=4, size=(9, 8), most=TOLERANCE, **arrays):
    """Merge what can be merged, compare the outputs, and return the nodes that are left."""
    height, width = size
    model = build(
        f"(float[2,{channels},{height},{width}] x) => (float[n,c,h,w] y) {{ {body} }}", **arrays
    )
    x = rng.normal(size=(2, channels, height, width)).astype(np.float32)
    before = run(model, x=x)
    changed = MergeBranches()(model).modified
    RemoveUnusedNodesPass()(model)
    ShapeInferencePass()(model)
    assert error(before, run(model, x=x)) < most
    assert not MergeBranches()(model).modified
    return changed, list(model.graph)


@pytest.mark.parametrize("group", [1, 2, 4])
def test_a_block_of_repvgg_is_one_conv(build, run, error, rng, group):
    """3×3, 1×1 and BatchNorm alone, with any groups, in two Adds."""
    body = f"""
        a = Conv<pads=[1,1,1,1], group={group}>(x, w, b) c = Conv<group={group}>(x, v)
        {IDENTITY} s = Add(a, c) y = Add(s, i)"""
    arrays = {
        "w": kernel(rng, 4, 4 // group, 3, 3),
        "b": kernel(rng, 4),
        "v": kernel(rng, 4, 4 // group, 1, 1),
    }
    changed, nodes = merged(build, run, error, rng, body, **arrays, **norm(rng, 4))
    assert changed
    (conv,) = nodes
    assert conv.name == "make_a"
    assert conv.inputs[1].const_value.shape == (4, 4 // group, 3, 3)


GEOMETRIES = [
    (large, small, stride, dilation, size)
    for large, small, stride, dilation, size in itertools.product(
        (3, 5, 7), (1, 3), (1, 2, 3), (1, 2), (8, 9)
    )
    if small < large
]


@pytest.mark.parametrize(("large", "small", "stride", "dilation", "size"), GEOMETRIES)
def test_every_geometry_is_exact(build, run, error, rng, large, small, stride, dilation, size):
    """Kernels, strides, dilations and sizes that end evenly and unevenly, borders included."""
    pads = [large // 2 * dilation] * 4, [small // 2 * dilation] * 4
    body = " ".join(
        f"{name} = Conv<pads={pad}, strides=[{stride},{stride}], "
        f"dilations=[{dilation},{dilation}]>(x, {name}w)"
        for name, pad in zip("ab", pads, strict=True)
    )
    arrays = {"aw": kernel(rng, 6, 4, large, large), "bw": kernel(rng, 6, 4, small, small)}
    changed, nodes = merged(
        build, run, error, rng, f"{body} y = Add(b, a)", size=(size, size), **arrays
    )
    assert changed
    assert [node.name for node in nodes] == ["make_a"]


def test_paddings_that_differ(build, run, error, rng):
    """Kernels that stand anywhere in the larger one, padded on one side more than on the other."""
    body = """
        a = Conv<pads=[2,0,1,3]>(x, w) c = Conv<pads=[1,0,0,1]>(x, v) y = Sum(a, c)"""
    changed, nodes = merged(
        build, run, error, rng, body, w=kernel(rng, 6, 4, 4, 4), v=kernel(rng, 6, 4, 2, 2)
    )
    assert changed
    assert len(nodes) == 1


def test_the_tensor_itself_joins_two_layers(build, run, error, rng):
    """Depthwise 7×7 and 3×3 with a shortcut, as in reparameterised mixers; BatchNorm folds."""
    body = """
        a = Conv<pads=[3,3,3,3], group=4>(x, w) c = Conv<pads=[1,1,1,1], group=4>(x, v)
        s = Add(a, x) t = Add(s, c) y = BatchNormalization(t, gamma, beta, mean, variance)"""
    arrays = {"w": kernel(rng, 4, 1, 7, 7), "v": kernel(rng, 4, 1, 3, 3)} | norm(rng, 4)
    changed, nodes = merged(build, run, error, rng, body, **arrays)
    assert changed
    assert [node.op_type for node in nodes] == ["Conv", "BatchNormalization"]
    model = build(f"(float[2,4,9,8] x) => (float[n,c,h,w] y) {{ {body} }}", **arrays)
    for step in (MergeBranches(), FoldBatchNorm()):
        step(model)
    assert [node.op_type for node in model.graph] == ["Conv"]


def test_it_is_what_pytorch_adds_up(build, run, rng):
    """The merged block gives what PyTorch's three branches give."""
    torch.manual_seed(0)
    conv, point = torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.Conv2d(4, 4, 1)
    bn = torch.nn.BatchNorm2d(4).eval()
    parameters = norm(rng, 4)
    tensors = (bn.weight, bn.bias, bn.running_mean, bn.running_var)
    for tensor, name in zip(tensors, NORM, strict=True):
        tensor.data.copy_(torch.from_numpy(parameters[name]))
    body = f"""a = Conv<pads=[1,1,1,1]>(x, w, b) c = Conv(x, v, d) {IDENTITY}
        y = Sum(a, c, i)"""
    arrays = {
        "w": conv.weight,
        "b": conv.bias,
        "v": point.weight,
        "d": point.bias,
    }
    model = build(
        f"(float[1,4,6,7] x) => (float[n,c,h,w] y) {{ {body} }}",
        **{key: value.detach().numpy() for key, value in arrays.items()},
        **parameters,
    )
    assert MergeBranches()(model).modified
    x = torch.randn(1, 4, 6, 7)
    with torch.no_grad():
        expected = (conv(x) + point(x) + bn(x)).numpy()
    np.testing.assert_allclose(run(model, x=x.numpy())["y"], expected, rtol=0, atol=1e-5)


DECLINED = {
    "a shortcut": "a = Conv<pads=[1,1,1,1]>(x, w) y = Add(a, x)",
    "two tensors": "r = Relu(x) a = Conv<pads=[1,1,1,1]>(x, w) c = Conv(r, v) y = Add(a, c)",
    "another term": "r = Relu(x) a = Conv<pads=[1,1,1,1]>(x, w) c = Conv(x, v) y = Sum(a, c, r)",
    "a result that is read twice": """
        a = Conv<pads=[1,1,1,1]>(x, w) c = Conv(x, v) r = Relu(c) s = Add(a, c) y = Mul(s, r)""",
    "an activation function": """
        a = Conv<pads=[1,1,1,1]>(x, w) c = Conv(x, v) r = Relu(c) y = Add(a, r)""",
    "a cross": "a = Conv<pads=[1,0,1,0]>(x, t) c = Conv<pads=[0,1,0,1]>(x, u) y = Add(a, c)",
    "dilations": """
        a = Conv<pads=[1,1,1,1]>(x, w) c = Conv<pads=[2,2,2,2], dilations=[2,2]>(x, w)
        y = Add(a, c)""",
    "computed weights": """
        a = Conv<pads=[1,1,1,1]>(x, w) k = Abs(v) c = Conv(x, k) y = Add(a, c)""",
    "automatic padding": """
        a = Conv<auto_pad="SAME_UPPER">(x, w) c = Conv(x, v) y = Add(a, c)""",
    "depthwise and whole": """
        a = Conv<pads=[1,1,1,1], group=4>(x, g) c = Conv(x, v) y = Add(a, c)""",
    "a broadcast": "a = Conv<strides=[9,8]>(x, v) c = Conv(x, v) y = Add(a, c)",
}


@pytest.mark.parametrize("body", DECLINED.values(), ids=DECLINED.keys())
def test_what_is_no_sum_of_branches_stays(build, run, error, rng, body):
    """Each of the declined cases."""
    shapes = {
        "w": (4, 4, 3, 3),
        "v": (4, 4, 1, 1),
        "t": (4, 4, 3, 1),
        "u": (4, 4, 1, 3),
        "g": (4, 1, 3, 3),
    }
    arrays = {
        key: kernel(rng, *shape)
        for key, shape in shapes.items()
        if f", {key})" in body or f"({key})" in body
    }
    changed, _ = merged(build, run, error, rng, body, **arrays)
    assert not changed


def test_unknown_shapes_are_left_alone(build, rng):
    """Where nobody knows that nothing is broadcast."""
    model = build(
        "(float[n,4,h,w] x) => (float[n,c,p,q] y) { a = Conv(x, v) c = Conv(x, v) y = Add(a, c) }",
        v=kernel(rng, 4, 4, 1, 1),
    )
    for node in model.graph:
        node.outputs[0].shape = None
    assert not MergeBranches()(model).modified
