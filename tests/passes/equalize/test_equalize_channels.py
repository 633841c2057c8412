"""Equalization keeps the function, uses the whole threshold, and says what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passes import EqualizeChannels
from passes.analysis.quantization_points import quantization_points
from passes.graph import with_outputs
from tests.calibration import plan_of
from tests.passes.helpers import build_model, relative_error, run_model
from zqc.calibration.analytic_moments import analytic_moments
from zqc.model_io import model_file
from zqc.quantization.prepare import prepare
from zqc.statistics.batchnorm import harvest

TOLERANCE = 1e-5


def normal(rng, *shape):
    """Weights whose rows differ in size by powers of ten, so that factors differ from 1."""
    sizes = 10 ** rng.uniform(-1, 1, (shape[0], *[1] * (len(shape) - 1)))
    return (rng.normal(size=shape) * sizes).astype(np.float32)


def tensors(model):
    """Names of everything that a node computes, channels on axis 1."""
    values = [v for node in model.graph for v in node.outputs if v.name]
    return [v.name for v in values if v.shape is not None and len(v.shape) >= 2]


def maxima(model, feeds, names):
    """Largest value per channel."""
    values = run_model(with_outputs(model, names), **feeds)
    return {
        name: np.abs(value).max((0, *range(2, value.ndim))).astype(np.float64)
        for name, value in values.items()
    }


def check(model, feeds, *, tolerance=TOLERANCE, **options):
    """Equalise by the reaches over ``feeds``; return the result and the maxima before and after."""
    names = [name for p in quantization_points(model.graph) for name in p.names]
    names = [name for name in names if name in tensors(model)]
    before, channel_ranges = run_model(model, **feeds), maxima(model, feeds, names)
    result = EqualizeChannels(channel_ranges, **options)(model)
    after = run_model(model, **feeds)
    assert relative_error(before, after) < tolerance
    if options.get("powers_of_two"):
        assert all(np.array_equal(before[name], after[name]) for name in before)
    return result, channel_ranges, maxima(model, feeds, names)


SMALL = {
    "Conv, Relu, Conv": ("h = Relu(a)", "y = Conv<pads=[1,1,1,1]>(h, v3)"),
    "LeakyRelu": ("h = LeakyRelu<alpha=0.1>(a)", "y = Conv(h, v1)"),
    "PRelu": ("h = PRelu(a, slopes)", "y = Conv(h, v1)"),
    "nothing in between": ("h = Identity(a)", "y = Conv(h, v1)"),
    "ReLU6": ("h = Clip(a, zero, six)", "y = Conv(h, v1)"),
    "unbounded Clip": ("h = Clip(a, zero)", "y = Conv(h, v1)"),
    "grouped": ("h = Relu(a)", "y = Conv<group=2>(h, v_grouped)"),
    "depthwise": ("h = Relu(a)", "d = Conv<group=6>(h, v_depthwise) y = Conv(d, v1)"),
    "ConvTranspose": ("h = Relu(a)", "y = ConvTranspose<strides=[2,2]>(h, t2)"),
    "grouped ConvTranspose": ("h = Relu(a)", "y = ConvTranspose<group=2>(h, t_grouped)"),
    "two readers": ("h = Relu(a)", "y = Conv(h, v1) z = Conv<group=2>(h, v_grouped)"),
    "pools": (
        "r = Relu(a) p = MaxPool<kernel_shape=[2,2]>(r) h = AveragePool<kernel_shape=[2,2]>(p)",
        "y = Conv(h, v1)",
    ),
    "Resize": ('r = Relu(a) h = Resize<mode="linear">(r, , sizes)', "y = Conv(h, v1)"),
    "Pad and Slice": (
        "r = Relu(a) p = Pad(r, borders) h = Slice(p, one, five, two)",
        "y = Conv(h, v1)",
    ),
    "global pool and Gemm": (
        "r = Relu(a) p = GlobalAveragePool(r) h = Flatten(p)",
        "y = Gemm<transB=1, alpha=2.0>(h, m, mb)",
    ),
    "Flatten of pixels": ("r = Relu(a) h = Flatten(r)", "y = Gemm(h, m_pixels)"),
    "Concat": ("r = Relu(a) h = Concat<axis=1>(r, x)", "y = Conv(h, v9)"),
    "Split": ("r = Relu(a) h, g = Split<axis=1>(r, parts)", "y = Conv(h, v2) z = Conv(g, v4)"),
    "channel Slice": ("r = Relu(a) h = Slice(r, one, five, ones)", "y = Conv(h, v4)"),
    "Mul by constants": ("r = Relu(a) h = Mul(r, slopes)", "y = Conv(h, v1)"),
    "Add of layers": ("o = Conv(x, w_other) s = Add(a, o) h = Relu(s)", "y = Conv(h, v1)"),
    "gate": (
        "r = Relu(a) g0 = Conv(x, w_other) g = Sigmoid(g0) h = Mul(r, g)",
        "y = Conv(h, v1)",
    ),
}


def constants(rng):
    """Whatever the small graphs name."""
    return {
        "w": normal(rng, 6, 3, 3, 3),
        "b": rng.normal(size=6).astype(np.float32),
        "w_other": normal(rng, 6, 3, 3, 3),
        "v1": normal(rng, 5, 6, 1, 1),
        "v2": normal(rng, 5, 2, 1, 1),
        "v3": normal(rng, 5, 6, 3, 3),
        "v4": normal(rng, 5, 4, 1, 1),
        "v9": normal(rng, 5, 9, 1, 1),
        "v_grouped": normal(rng, 4, 3, 1, 1),
        "v_depthwise": normal(rng, 6, 1, 3, 3),
        "t2": normal(rng, 6, 5, 2, 2),
        "t_grouped": normal(rng, 6, 2, 1, 1),
        "m": normal(rng, 5, 6),
        "mb": rng.normal(size=5).astype(np.float32),
        "m_pixels": normal(rng, 6 * 36, 4),
        "slopes": rng.uniform(0.1, 2, (6, 1, 1)).astype(np.float32),
        "zero": 0.0,
        "six": 6.0,
        "sizes": np.array([1, 1, 2, 2], np.float32),
        "borders": np.array([0, 0, 1, 2, 0, 0, 0, 1]),
        "one": np.array([1]),
        "two": np.array([2]),
        "five": np.array([5]),
        "ones": np.array([1]),
        "parts": np.array([2, 4]),
    }


def small(middle, end, rng):
    """A Conv, something in between, and what reads it."""
    outputs = ["y", "z"] if "z =" in end else ["y"]
    rank = 2 if "Gemm" in end else 4
    dims = ",".join("nchw"[:rank])
    declared = ", ".join(f"float[{dims.replace('n', f'n{o}')}] {o}" for o in outputs)
    padding = "<pads=[1,1,1,1]>" if "Concat" in middle else ""
    text = f"(float[2,3,8,8] x) => ({declared}) {{ a = Conv{padding}(x, w, b) {middle} {end} }}"
    used = {n: v for n, v in constants(rng).items() if n in text.replace(")", ",").replace(" ", "")}
    return build_model(text, **used)


@pytest.mark.parametrize("powers_of_two", [False, True])
@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL.keys())
def test_keeps_the_function(rng, case, powers_of_two):
    """Every supported operator between the layers; to the last bit with powers of two."""
    model = small(*case, rng)
    feeds = {"x": rng.normal(size=(2, 3, 8, 8)).astype(np.float32)}
    thresholds = {"h": 4.0} if case is SMALL["ReLU6"] else {}
    feeds["x"] *= np.float32(0.1)
    options = {"powers_of_two": powers_of_two, "thresholds": thresholds}
    result, channel_ranges, after = check(model, feeds, **options)
    assert result.modified
    for name, factor in result.factors.items():
        if name in channel_ranges:
            np.testing.assert_allclose(after[name], factor * channel_ranges[name], rtol=1e-4)


def test_every_channel_reaches_the_threshold(rng):
    """s_c = t/m_c, t the largest m_c: the paper's rule."""
    model = small(*SMALL["Conv, Relu, Conv"], rng)
    feeds = {"x": rng.normal(size=(2, 3, 8, 8)).astype(np.float32)}
    _, channel_ranges, after = check(model, feeds)
    np.testing.assert_allclose(after["h"], channel_ranges["h"].max(), rtol=1e-5)


def test_threshold_strength_and_limit(rng):
    """A threshold below some channels leaves those alone; strength is an exponent."""
    channel_ranges = {"h": np.array([8.0, 4.0, 2.0, 1.0, 0.01, 0.0])}

    def factors(**options):
        model = small(*SMALL["Conv, Relu, Conv"], np.random.default_rng(0))
        return EqualizeChannels(channel_ranges, **options)(model).factors["h"]

    np.testing.assert_allclose(factors(limit=10), [1, 2, 4, 8, 10, 1])
    np.testing.assert_allclose(factors(thresholds={"h": 2.0}), [1, 1, 1, 2, 200, 1])
    np.testing.assert_allclose(factors(strength=0.5), np.sqrt([1, 2, 4, 8, 800, 1]))
    np.testing.assert_array_equal(factors(powers_of_two=True), [1, 2, 4, 8, 512, 1])


def test_channels_that_meet_get_the_smallest_factor(rng):
    """Behind an Add no tensor that is quantized leaves its threshold."""
    model = small(*SMALL["Add of layers"], rng)
    channel_ranges = {"a": np.arange(1.0, 7), "h": np.full(6, 2.0)}
    channel_ranges["h"][0] = 1.5
    factors = EqualizeChannels(channel_ranges)(model).factors
    assert factors.keys() == {"a", "o", "s", "h"}
    for factor in factors.values():  # t/m is 6, 3, 2, 1.5, 1.2, 1 for a, and 4/3, 1, 1, … for h
        np.testing.assert_allclose(factor, [4 / 3, 1, 1, 1, 1, 1])


def test_bound_of_relu6(rng):
    """Where the power of two above the reach is 8, every bound is at least 8; else at least 6."""
    for channel_range, bottom in ((6.0, 8.0), (3.0, 6.0)):
        model = small(*SMALL["ReLU6"], rng)
        channel_ranges = {"h": np.array([channel_range, 1.0, 0.5, 0.25, 0.0, channel_range / 2])}
        EqualizeChannels(channel_ranges)(model)
        (bounded,) = [node for node in model.graph if node.op_type == "Min"]
        bounds = bounded.inputs[1].const_value.numpy()
        assert bounds.shape == (6, 1, 1)
        assert bounds.min() == pytest.approx(bottom)
        assert bounds.max() == pytest.approx(6 * 4 * channel_range)
        assert [n.op_type for n in model.graph] == ["Conv", "Min", "Relu", "Conv"]


REFUSED = {
    "SiLU": ("s = Sigmoid(a) h = Mul(a, s)", "y = Conv(h, v1)", "Sigmoid"),
    "HardSwish": ("h = HardSwish(a)", "y = Conv(h, v1)", "HardSwish"),
    "constant Add": ("h = Add(a, slopes)", "y = Conv(h, v1)", "Add"),
    "Add of a SiLU": ("s = Sigmoid(a) t = Mul(a, s) o = Conv(x, w_other) h = Add(o, t)",
                      "y = Conv(h, v1)", "Sigmoid"),
    "graph output": ("h = Relu(a)", "y = Conv(h, v1) z = Relu(h)", "output"),
    "computed weight": ("h = Relu(a)", "c = Abs(v1) y = Conv(h, c)", "Conv"),
    "Clip from below zero": ("h = Clip(a, minus, six)", "y = Conv(h, v1)", "Clip"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_refuses_with_a_reason(rng, case):
    """What is not homogeneous keeps its values to the bit, and the result names it."""
    model = small(*case[:2], rng) if "minus" not in case[0] else None
    if model is None:
        text = f"(float[2,3,8,8] x) => (float[n,c,h,w] y) {{a = Conv(x, w, b) {case[0]} {case[1]}}}"
        arrays = {k: v for k, v in constants(rng).items() if k in ("w", "b", "six", "v1")}
        model = build_model(text, minus=-1.0, **arrays)
    feeds = {"x": rng.normal(size=(2, 3, 8, 8)).astype(np.float32)}
    before = run_model(model, **feeds)
    result, _, _ = check(model, feeds)
    assert not result.modified
    assert case[2] in result.refused["make_a"]
    assert all(np.array_equal(before[k], v) for k, v in run_model(model, **feeds).items())


def test_unknown_reaches_are_refused(rng):
    """Without a range nothing is scaled; half-known tensors say how many channels stay."""
    model = small(*SMALL["Split"], rng)
    assert "not known" in EqualizeChannels({})(model).refused["make_a"]
    result = EqualizeChannels({"g": np.array([1.0, 2, 3, 4])})(model)
    assert result.refused["make_a"] == "2 of 6 channels: its range is not known"
    np.testing.assert_allclose(result.factors["r"], [1, 1, 4, 2, 4 / 3, 1])


@pytest.mark.parametrize(
    ("channel_ranges", "message"),
    [({"nowhere": np.ones(6)}, "nowhere"), ({"h": np.ones(5)}, "6 channels, its range 5")],
)
def test_wrong_reaches_are_errors(rng, channel_ranges, message):
    """A reach that fits no tensor is a mistake of the caller."""
    with pytest.raises(ValueError, match=message):
        EqualizeChannels(channel_ranges)(small(*SMALL["Conv, Relu, Conv"], rng))


def test_a_value_inside_a_subgraph_keeps_its_scale(rng):
    """A branch of an If that reads a tensor would see other values."""
    model = build_model(
        """(float[1,3,8,8] x, bool c) => (float[n,c,h,w] y, float[n,c,h,w] z) {
            a = Conv(x, w)
            h = Relu(a)
            y = Conv(h, v1)
            z = If(c) <
                then_branch = then () => (float[n,c,h,w] t) { t = Relu(h) },
                else_branch = other () => (float[n,c,h,w] e) { e = Neg(h) }
            >
        }""",
        **{k: v for k, v in constants(rng).items() if k in ("w", "v1")},
    )
    result = EqualizeChannels({"h": np.arange(1.0, 7)})(model)
    assert not result.modified
    assert "subgraph" in result.refused["make_a"]


@st.composite
def networks(draw):
    """Chains of layers and activation functions with branches that meet again."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    lines, arrays, current, side, count = [], {"zero": 0.0, "six": 6.0}, "x", None, 4
    for i in range(draw(st.integers(2, 6))):
        kind = draw(st.sampled_from(["conv", "depthwise", "grouped", "transposed"]))
        outputs = count if kind == "depthwise" else draw(st.sampled_from([2, 4, 6]))
        groups = {"depthwise": count, "grouped": 2}.get(kind, 1)
        size = int(kind != "transposed")
        shape = (outputs, count // groups) if size else (count, outputs)
        arrays[f"w{i}"] = normal(rng, *shape, 1 + 2 * size, 1 + 2 * size)
        arrays[f"b{i}"] = rng.normal(size=outputs).astype(np.float32)
        operator = f"Conv<group={groups}, pads=[1,1,1,1]>" if size else "ConvTranspose"
        lines.append(f"a{i} = {operator}({current}, w{i}, b{i})")
        arrays[f"s{i}"] = rng.uniform(0, 2, (outputs, 1, 1)).astype(np.float32)
        activation = draw(
            st.sampled_from(
                ["Relu(a)", "LeakyRelu<alpha=0.2>(a)", "Clip(a, zero, six)", "PRelu(a, s)",
                 "Sigmoid(a)", "HardSwish(a)", "Identity(a)",
                 "MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(a)"]
            )
        )  # fmt: skip
        text = activation.replace("(a", f"(a{i}").replace(", s)", f", s{i})")
        lines.append(f"h{i} = {text}")
        current, count = f"h{i}", outputs
        join = draw(st.sampled_from(["", "", "Concat<axis=1>", "Add"]))
        if side is not None and join and (join != "Add" or side[1] == count):
            lines.append(f"j{i} = {join}({current}, {side[0]})")
            current, count = f"j{i}", count + (side[1] if join != "Add" else 0)
        if draw(st.booleans()):
            side = (current, count)
    arrays["last"] = normal(rng, 3, count, 1, 1)
    body = "\n".join([*lines, f"y = Conv({current}, last)"])
    model = build_model(f"(float[1,4,5,5] x) => (float[1,3,5,5] y) {{ {body} }}", **arrays)
    return model, rng.normal(size=(1, 4, 5, 5)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(networks(), st.booleans(), st.sampled_from([0.5, 1.0]), st.booleans())
def test_random_networks_keep_their_function(network, powers_of_two, strength, insert):
    """Whatever is put together, the output stays, and no tensor leaves its threshold.

    Behind a Clip from 0 to 6 that is 8 where values above 4 were seen. Powers of two leave every
    bit; with other factors, sums of random terms that cancel show the rounding of float32 enlarged.
    """
    model, x = network
    slack = 8 / 6 if any(node.op_type == "Clip" for node in model.graph) else 1.0
    options = {"powers_of_two": powers_of_two, "strength": strength, "limit": 64.0}
    _, channel_ranges, after = check(model, {"x": x}, tolerance=1e-3, insert=insert, **options)
    for name, channel_range in channel_ranges.items():
        assert after[name].max() <= slack * channel_range.max() * (1 + 1e-4), name


@pytest.mark.parametrize(
    ("file", "size", "output", "layers"),
    [
        ("ssdlite_mnv2_person_bn.onnx", None, None, 76),
        ("yolov3tiny_coco_bn.onnx", None, None, 11),
        ("ppocrv3_det_bn.onnx", (96, 96), "sigmoid_0.tmp_0", 40),
    ],
)
def test_real_models(real_models, rng, file, size, output, layers):
    """With reaches from BatchNorm statistics, no picture: equal to 1e-5, many layers take part.

    Of a network that ends in a Sigmoid the logits are compared: those of PP-OCRv3 reach 100, where
    float32 alone moves a score by 10⁻⁵.
    """
    loaded = model_file.load(real_models / file, input_shape=size).model
    model = prepare(loaded, plan_of())
    channel_ranges = {
        n: m.channel_range for n, m in analytic_moments(model, harvest(loaded)).items()
    }
    if output is not None:
        (score,) = model.graph.outputs
        assert score.name == output
        model.graph.outputs[:] = [score.producer().inputs[0]]
    source = model.graph.inputs[0]
    shape = [d if isinstance(d, int) else 1 for d in source.shape]
    x = np.kron(rng.normal(size=(*shape[:2], 10, 10)), np.ones((52, 52)))
    feeds = {source.name: x[:, :, : shape[2], : shape[3]].astype(np.float32)}
    before = run_model(model, **feeds)
    result = EqualizeChannels(channel_ranges)(model)
    assert relative_error(before, run_model(model, **feeds)) < TOLERANCE
    layers_of_model = [n for n in model.graph if n.op_type in ("Conv", "ConvTranspose")]
    assert sum(n.outputs[0].name in result.factors for n in layers_of_model) >= layers


def test_a_shared_weight_stays_shared(build, run, error, rng):
    """Each channel gets the smallest of its factors on the levels, and all outputs stay."""
    model = build(
        """(float[1,3,6,6] x) => (float[n,c,h,w] y, float[n,c,h2,w2] z) {
            a = Conv(x, w) p = Relu(a) y = Conv(p, v, b)
            m = MaxPool<kernel_shape=[2,2]>(x) d = Conv(m, u) q = Relu(d) z = Conv(q, v, b) }""",
        w=rng.normal(size=(2, 3, 1, 1)).astype(np.float32),
        u=rng.normal(size=(2, 3, 1, 1)).astype(np.float32),
        v=rng.normal(size=(2, 2, 1, 1)).astype(np.float32),
        b=rng.normal(size=2).astype(np.float32),
    )
    x = rng.normal(size=(1, 3, 6, 6)).astype(np.float32)
    before = run(model, x=x)
    result = EqualizeChannels({"p": np.array([8.0, 1.0]), "q": np.array([3.0, 6.0])})(model)
    assert not result.modified
    result = EqualizeChannels({"p": np.array([8.0, 1.0]), "q": np.array([6.0, 3.0])})(model)
    np.testing.assert_allclose(result.factors["p"], [1.0, 2.0])
    np.testing.assert_allclose(result.factors["q"], [1.0, 2.0])
    heads = [n for n in model.graph if n.outputs[0].name in ("y", "z")]
    assert heads[0].inputs[1] is heads[1].inputs[1]
    assert error(before, run(model, x=x)) < TOLERANCE
