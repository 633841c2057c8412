"""A BatchNormalization written out in arithmetic becomes one operator."""

import numpy as np
import pytest
import torch

from passes import CanonicalBatchNorm

TOLERANCE = 1e-5

RESHAPED = " ".join(f"{p}r = Reshape({p}, shape)" for p in "gbmv")
SCALE = "e = Add(vr, eps) q = Sqrt(e) i = Div(one, q) s = Mul(gr, i)"
SHIFT = "t = Mul(mr, s) u = Sub(br, t)"
ENDING = "z = Mul(x, s) y = Add(z, u)"

SPELLINGS = {
    "scale and shift": f"{RESHAPED} {SCALE} {SHIFT} {ENDING}",
    "reciprocal": f"""
        {RESHAPED} e = Add(vr, eps) q = Sqrt(e) i = Reciprocal(q) s = Mul(gr, i)
        {SHIFT} {ENDING}""",
    "root of the reciprocal": f"""
        {RESHAPED} e = Add(eps, vr) q = Reciprocal(e) i = Sqrt(q) s = Mul(i, gr)
        {SHIFT} {ENDING}""",
    "power": f"""
        {RESHAPED} e = Add(vr, eps) i = Pow(e, minus_half) s = Mul(gr, i)
        {SHIFT} {ENDING}""",
    "power and quotient": f"""
        {RESHAPED} e = Add(vr, eps) i = Pow(e, half) s = Div(gr, i)
        {SHIFT} {ENDING}""",
    "reshaped at last": """
        e = Add(v, eps) q = Sqrt(e) i = Div(one, q) s0 = Mul(g, i) t = Mul(m, s0) u0 = Sub(b, t)
        s = Reshape(s0, shape) u = Reshape(u0, shape) z = Mul(s, x) y = Add(u, z)""",
    "unsqueezed": """
        e0 = Add(v, eps) e = Unsqueeze(e0, behind) gr = Unsqueeze(g, behind)
        mr = Unsqueeze(m, behind) br = Unsqueeze(b, behind)
        d = Sub(x, mr) q = Sqrt(e) z = Div(d, q) w = Mul(z, gr) y = Add(w, br)""",
    "normalised first": f"""
        {RESHAPED} d = Sub(x, mr) e = Add(vr, eps) q = Sqrt(e) i = Reciprocal(q) z = Mul(d, i)
        w = Mul(z, gr) y = Add(w, br)""",
    "scaled by the product": f"""
        {RESHAPED} d = Sub(x, mr) e = Add(vr, eps) q = Sqrt(e) s = Div(gr, q) z = Mul(d, s)
        y = Add(br, z)""",
    "a negative mean": f"""
        {RESHAPED} {SCALE} n = Neg(mr) t = Mul(n, s) u = Add(t, br) {ENDING}""",
    "subtracted apart": f"""
        {RESHAPED} {SCALE} t = Mul(mr, s) z = Mul(x, s) w = Sub(z, t) y = Add(w, br)""",
    "copies": f"""
        copy = Identity(g) {RESHAPED.replace("(g,", "(copy,")} {SCALE} {SHIFT} {ENDING}""",
}


def parameters(rng, channels=5):
    """Four parameters and what the spellings read beside them."""
    g, b, m = rng.normal(size=(3, channels)).astype(np.float32)
    v = rng.uniform(0.5, 2, channels).astype(np.float32)
    return {"g": g, "b": b, "m": m, "v": v, "eps": 0.001, "one": 1.0, "half": 0.5} | {
        "minus_half": -0.5,
        "shape": np.array([1, -1, 1, 1]),
        "behind": np.array([1, 2]),
    }


def model_of(build, body, arrays, outputs=""):
    """A graph of one tensor of five channels, and the parameters that it reads."""
    read = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    graph = f"(float[2,5,3,4] x) => (float[n,c,h,w] y {outputs}) {{ {body} }}"
    return build(graph, opset=17, **{k: a for k, a in arrays.items() if k in read})


@pytest.mark.parametrize("body", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_frozen_batchnorm_is_one_operator(build, run, error, rng, body):
    """With the four parameters as they were, and the same outputs."""
    arrays = parameters(rng)
    model = model_of(build, body, arrays)
    x = rng.normal(size=(2, 5, 3, 4)).astype(np.float32)
    before = run(model, x=x)
    assert CanonicalBatchNorm()(model).modified
    (node,) = (node for node in model.graph if node.op_type == "BatchNormalization")
    found = [value.const_value.numpy() for value in node.inputs[1:]]
    for array, key in zip(found, "gbmv", strict=True):
        np.testing.assert_array_equal(array, arrays[key])
    assert node.attributes["epsilon"].as_float() == pytest.approx(0.001)
    assert node.name == "make_y"
    assert error(before, run(model, x=x)) < TOLERANCE
    assert not CanonicalBatchNorm()(model).modified


class FrozenBatchNorm2d(torch.nn.Module):
    """As torchvision and the DETR family write it."""

    def __init__(self, arrays):
        super().__init__()
        for name, key in zip(("weight", "bias", "mean", "variance"), "gbmv", strict=True):
            self.register_buffer(name, torch.from_numpy(arrays[key]))

    def forward(self, x):
        """Scale and shift by constants."""
        weight, bias, mean, variance = (buffer.reshape(1, -1, 1, 1) for buffer in self.buffers())
        scale = weight * (variance + 0.001).rsqrt()
        return x * scale + (bias - mean * scale)


def test_it_computes_what_pytorch_computes(build, run, rng):
    """The operator gives what PyTorch's module gives."""
    arrays = parameters(rng)
    model = model_of(build, SPELLINGS["reciprocal"], arrays)
    CanonicalBatchNorm()(model)
    x = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    expected = FrozenBatchNorm2d(arrays)(x).numpy()
    np.testing.assert_allclose(run(model, x=x.numpy())["y"], expected, rtol=0, atol=1e-5)


def test_parameters_may_be_missing_and_shared(build, run, error, rng):
    """Without γ and β these are 1 and 0; exporters store equal ones once."""
    arrays = parameters(rng)
    x = rng.normal(size=(2, 5, 3, 4)).astype(np.float32)
    plain = f"{RESHAPED} d = Sub(x, mr) e = Add(vr, eps) q = Sqrt(e) y = Div(d, q)"
    shared = SPELLINGS["scale and shift"].replace("Reshape(g,", "Reshape(v,")
    for body, gamma, beta in ((plain, np.ones(5), np.zeros(5)), (shared, arrays["v"], arrays["b"])):
        model = model_of(build, body, arrays)
        before = run(model, x=x)
        assert CanonicalBatchNorm()(model).modified
        (node,) = (node for node in model.graph if node.op_type == "BatchNormalization")
        found = [value.const_value.numpy() for value in node.inputs[1:3]]
        np.testing.assert_array_equal(found, [gamma, beta])
        assert error(before, run(model, x=x)) < TOLERANCE


NEAR_MISSES = {
    "no mean": f"{RESHAPED} {SCALE} z = Mul(x, s) y = Add(z, br)",
    "a mean of another sign": f"{RESHAPED} {SCALE} t = Mul(mr, s) u = Add(br, t) {ENDING}",
    "no root": f"""
        {RESHAPED} e = Add(vr, eps) s = Div(gr, e) {SHIFT} {ENDING}""",
    "a root without ε": f"{RESHAPED} q = Sqrt(vr) s = Div(gr, q) {SHIFT} {ENDING}",
    "a shift that is not scaled": f"{RESHAPED} {SCALE} u = Sub(br, mr) {ENDING}",
    "twice the scale": f"""
        {RESHAPED} {SCALE.replace("one, q", "two, q")} {SHIFT.replace("Mul(mr, s)", "Mul(mr, gr)")}
        {ENDING}""",
    "mean and deviation of pixels": f"{RESHAPED} q = Sqrt(eps) d = Sub(x, mr) y = Div(d, gr)",
}


@pytest.mark.parametrize("body", NEAR_MISSES.values(), ids=NEAR_MISSES.keys())
def test_near_miss_is_left_alone(build, operators, rng, body):
    """Another sum is another function."""
    model = model_of(build, body, parameters(rng) | {"two": 2.0})
    before = operators(model)
    assert not CanonicalBatchNorm()(model).modified
    assert operators(model) == before


@pytest.mark.parametrize("tensor", ["z"])
def test_an_intermediate_result_in_use_is_left_alone(build, rng, tensor):
    """What somebody else reads stays where it is."""
    body = f"{SPELLINGS['scale and shift']} other = Neg({tensor})"
    model = model_of(build, body, parameters(rng), ", float[n,c,h,w] other")
    assert not CanonicalBatchNorm()(model).modified


def test_parameters_along_another_axis_are_left_alone(build, rng):
    """A normalisation over the width is no BatchNormalization."""
    arrays = parameters(rng) | {"shape": np.array([1, 1, 1, -1])}
    read = ("g", "b", "m", "v", "eps", "one", "shape")
    model = build(
        f"(float[2,5,3,5] x) => (float[n,c,h,w] y) {{ {SPELLINGS['scale and shift']} }}",
        **{key: arrays[key] for key in read},
    )
    assert not CanonicalBatchNorm()(model).modified
