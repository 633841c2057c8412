"""DepthToSpace behind activation functions and small layers."""

import numpy as np
import pytest

from passes import ConvTransposeToConv, SinkLayout
from tests.passes.helpers import build_model, operator_types, relative_error, run_model

SHUFFLE = 'DepthToSpace<blocksize=2, mode="{mode}">'


def shuffled(body, *, mode="DCR", channels=3, outputs="", **arrays):
    """Return a net of a 3×3 Conv to 12 channels, a DepthToSpace, what makes t of it, and a Conv."""
    rng = np.random.default_rng(1)
    arrays = {
        "w": rng.normal(size=(12, 2, 3, 3)),
        "b": rng.normal(size=12),
        "last": rng.normal(size=(2, channels, 3, 3)),
    } | arrays
    return build_model(
        f"""(float[1,2,5,4] x) => (float[1,2,h,w_out] y{outputs}) {{
            a = Conv<pads=[1,1,1,1]>(x, w, b)
            s = {SHUFFLE.format(mode=mode)}(a)
            {body}
            y = Conv(t, last)
        }}""",
        **{
            name: array if isinstance(array, float) or array.dtype == int else np.float32(array)
            for name, array in arrays.items()
        },
    )


def rewritten(model):
    """Apply the pass; the outputs must stay what they are, in their shapes."""
    x = np.random.default_rng(2).normal(size=(1, 2, 5, 4)).astype(np.float32)
    before = run_model(model, x=x)
    modified = SinkLayout()(model).modified
    assert relative_error(before, run_model(model, x=x)) < 1e-6
    return operator_types(model) if modified else None


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize(
    ("body", "operators"),
    [
        ("t = Relu(s)", ["Relu"]),
        ("t = Clip(s, zero, six)", ["Clip"]),
        ("r = LeakyRelu(s) t = Sigmoid(r)", ["LeakyRelu", "Sigmoid"]),
        ("r = Sigmoid(s) t = Mul(s, r)", ["Sigmoid", "Mul"]),
        ("r = HardSigmoid(s) t = Mul(r, s)", ["HardSigmoid", "Mul"]),
        ("t = PRelu(s, slope)", ["PRelu"]),
    ],
)
def test_functions(body, operators, mode):
    """Activation functions, gates included, come right behind the layer."""
    constants = {"zero": 0.0, "six": 6.0, "slope": np.array([0.1])}
    used = {name: value for name, value in constants.items() if name in body}
    assert rewritten(shuffled(body, mode=mode, **used)) == [
        "Conv",
        *operators,
        "DepthToSpace",
        "Conv",
    ]


def test_a_slice_moves_too():
    """What is cut off behind the DepthToSpace is cut off behind the function."""
    bounds = {
        "from_": np.array([0, 1]),
        "to": np.array([-1, 8]),
        "axes": np.array([2, 3]),
    }
    model = shuffled("c = Slice(s, from_, to, axes) t = Relu(c)", **bounds)
    assert rewritten(model) == ["Conv", "Relu", "DepthToSpace", "Slice", "Conv"]


def test_a_concat_of_layers_moves_too(rng):
    """The function of a grouped ConvTranspose comes behind each of its Convs."""
    model = build_model(
        """(float[1,4,5,4] x) => (float[1,4,8,6] y) {
            t = ConvTranspose<strides=[2,2], group=2>(x, w)
            r = Sigmoid(t)
            g = Mul(r, t)
            y = Conv(g, last)
        }""",
        w=rng.normal(size=(4, 2, 2, 2)).astype(np.float32),
        last=rng.normal(size=(4, 4, 3, 3)).astype(np.float32),
    )
    x = rng.normal(size=(1, 4, 5, 4)).astype(np.float32)
    before = run_model(model, x=x)
    ConvTransposeToConv()(model)
    SinkLayout()(model)
    assert operator_types(model)[-3:] == ["Concat", "DepthToSpace", "Conv"]
    assert operator_types(model)[4:-3] == ["Sigmoid", "Mul"] * 4
    assert relative_error(before, run_model(model, x=x)) < 1e-6


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("bias", ["", ", v"])
def test_a_pointwise_layer_works_on_all_phases(rng, mode, bias):
    """A 1×1 Conv of 3 to 5 channels becomes one of 12 to 20, with the weights four times."""
    arrays = {"u": rng.normal(size=(5, 3, 1, 1))} | ({"v": rng.normal(size=5)} if bias else {})
    model = shuffled(f"r = Relu(s) t = Conv(r, u{bias})", mode=mode, channels=5, **arrays)
    assert rewritten(model) == ["Conv", "Relu", "Conv", "DepthToSpace", "Conv"]
    weight = list(model.graph)[2].inputs[1].const_value.numpy()
    assert weight.shape == (20, 12, 1, 1)
    assert np.count_nonzero(weight) == 4 * 15


@pytest.mark.parametrize("first", ["DCR", "CRD"])
@pytest.mark.parametrize("second", ["DCR", "CRD"])
def test_two_become_one(rng, first, second):
    """Two times two is a DepthToSpace of four, whatever the order of their channels."""
    again = SHUFFLE.format(mode=second)
    model = shuffled(
        f"r = Conv(s, u, v) d = {again}(r) t = Relu(d)",
        mode=first,
        channels=2,
        u=rng.normal(size=(8, 3, 1, 1)),
        v=rng.normal(size=8),
    )
    assert rewritten(model) == ["Conv", "Conv", "Relu", "DepthToSpace", "Conv"]
    assert list(model.graph)[-2].attributes["blocksize"].as_int() == 4


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("t = Conv<pads=[1,1,1,1]>(s, u)", ""),
        ("t = Conv<strides=[2,2]>(s, u)", ""),
        ("t = Relu(s) z = Sigmoid(s)", ", float[1,3,10,8] z"),
        ("t = Softmax<axis=1>(s)", ""),
        ("z = Identity(s) t = Relu(z)", ", float[1,3,10,8] z"),
        ("t = Identity(a) z = Relu(s)", ", float[1,3,10,8] z"),
    ],
)
def test_declined(rng, body, outputs):
    """What is no function of single pixels, is read elsewhere or post-processing stays."""
    arrays = {"u": rng.normal(size=(5, 3, 1, 1))} if "u)" in body else {}
    channels = 5 if arrays else 12 if "(a)" in body else 3
    assert rewritten(shuffled(body, outputs=outputs, channels=channels, **arrays)) is None


def test_large_layers_stay(rng):
    """A matrix that would exceed the limit is not enlarged."""
    model = shuffled("t = Conv(s, u)", channels=5, u=rng.normal(size=(5, 3, 1, 1)))
    assert not SinkLayout(largest=239)(model).modified
    assert SinkLayout(largest=240)(model).modified


def test_tokens(rng):
    """Between two Gemms whose results have an axis for tokens, one Reshape is left of two."""
    model = build_model(
        """(float[6,4] x) => (float[6,2] y) {
            a = Gemm(x, w)
            b = Reshape(a, tokens)
            c = Sigmoid(b)
            d = Mul(b, c)
            e = Reshape(d, rows)
            y = Gemm(e, v)
        }""",
        w=rng.normal(size=(4, 5)).astype(np.float32),
        v=rng.normal(size=(5, 2)).astype(np.float32),
        tokens=np.array([2, 3, 5]),
        rows=np.array([-1, 5]),
    )
    x = rng.normal(size=(6, 4)).astype(np.float32)
    before = run_model(model, x=x)
    assert SinkLayout()(model).modified
    assert operator_types(model) == ["Gemm", "Sigmoid", "Mul", "Reshape", "Gemm"]
    assert relative_error(before, run_model(model, x=x)) < 1e-6


def test_a_reshape_that_copies_a_size_stays(rng):
    """A 0 in the second shape stands for a size that only the first Reshape makes."""
    model = build_model(
        """(float[6,4] x) => (float[2,15] y) {
            a = Gemm(x, w)
            b = Reshape(a, tokens)
            y = Reshape(b, rows)
        }""",
        w=rng.normal(size=(4, 5)).astype(np.float32),
        tokens=np.array([2, 3, 5]),
        rows=np.array([0, 15]),
    )
    assert not SinkLayout()(model).modified
