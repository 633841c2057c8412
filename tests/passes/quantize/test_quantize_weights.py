"""Weights and biases become integers behind DequantizeLinear."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import QuantizeActivations, QuantizeWeights, layers
from passes.arithmetic import Grid, fake_quantize, scales, weight_exponents
from passes.quantize.quantize_weights import rounded_weight
from passes.quantize.rounding import Compensation
from zqc.runtime import session

GRID = Grid(2, 8, signed=True)
LAYERS = {
    "Conv": ("Conv<pads=[1,1,1,1]>", (6, 4, 3, 3), 0),
    "grouped Conv": ("Conv<group=2>", (6, 2, 3, 3), 0),
    "depthwise Conv": ("Conv<group=4>", (8, 1, 3, 3), 0),
    "ConvTranspose": ("ConvTranspose<strides=[2,2]>", (4, 6, 2, 2), 1),
    "grouped ConvTranspose": ("ConvTranspose<strides=[2,2], group=2>", (4, 3, 2, 2), 1),
    "Gemm": ("Gemm", (4, 6), 1),
    "Gemm, transposed": ("Gemm<transB=1>", (6, 4), 0),
    "MatMul": ("MatMul", (4, 6), 1),
}
EVERY_LAYER = pytest.mark.parametrize("layer", list(LAYERS))
WITH_BIAS = pytest.mark.parametrize("layer", [name for name in LAYERS if name != "MatMul"])


def model_of(build, rng, layer, *, bias=True, spread=1.0):
    """A layer of four inputs whose input and output are quantized; six or eight outputs."""
    call, shape, axis = LAYERS[layer]
    flat = layer.startswith(("Gemm", "MatMul"))
    has_bias = bias and layer != "MatMul"
    groups = 2 if layer == "grouped ConvTranspose" else 1
    arrays = {"w": rng.normal(size=shape).astype(np.float32)}
    if has_bias:
        arrays["b"] = (spread * rng.normal(size=shape[axis] * groups)).astype(np.float32)
    model = build(
        f"""(float[2,4{"" if flat else ",6,6"}] x) => (float[{"n,c" if flat else "n,c,h,w"}] y) {{
            y = {call}(x, w{", b" if has_bias else ""}) }}""",
        **arrays,
    )
    QuantizeActivations({"x": GRID, "y": Grid(5, 8, signed=True)})(model)
    return model, arrays


def layer_of(model):
    """The one weighted node."""
    (node,) = (n for n in model.graph if n.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"))
    return node


def parts(value):
    """Integers, scale and axis of what a DequantizeLinear reads."""
    node = value.producer()
    assert node.op_type == "DequantizeLinear"
    integers, scale = (v.const_value.numpy() for v in node.inputs[:2])
    return integers, scale, node.attributes["axis"].as_int()


def shaped(scale, axis, rank):
    """A vector along one axis."""
    return scale.reshape([-1 if i == axis else 1 for i in range(rank)])


@EVERY_LAYER
@pytest.mark.parametrize("bits", [8, 4])
def test_weights_are_the_nearest_of_the_best_grid(build, run, rng, layer, bits):
    """Type, axis and values are those of the arithmetic for every kind of layer."""
    model, arrays = model_of(build, rng, layer)
    assert QuantizeWeights(first_last_bits=bits)(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    node = layer_of(model)
    integers, scale, axis = parts(node.inputs[1])
    assert node.inputs[1].producer().inputs[0].dtype == (
        ir.DataType.INT8 if bits == 8 else ir.DataType.INT4
    )
    assert axis == LAYERS[layer][2]
    exponents = weight_exponents(arrays["w"], bits=bits, axis=axis)
    np.testing.assert_array_equal(scale, scales(exponents, bits=bits, signed=True))
    wide = shaped(scale, axis, arrays["w"].ndim)
    expected = fake_quantize(arrays["w"], wide, bits=bits, signed=True)
    np.testing.assert_array_equal(integers.astype(np.float32) * wide, expected)
    x = rng.normal(size=(2, 4) if arrays["w"].ndim == 2 else (2, 4, 6, 6)).astype(np.float32)
    assert np.isfinite(run(model, x=x)["y"]).all()


@EVERY_LAYER
@pytest.mark.parametrize("bits", [8, 4])
def test_one_threshold_for_all_channels(build, rng, layer, bits):
    """Per tensor all scales are equal, the best single one, and the values are its nearest ones."""
    model, arrays = model_of(build, rng, layer)
    node = layer_of(model)
    QuantizeWeights(first_last_bits=bits, per_tensor={node.op_type}, int4=False)(model)
    integers, scale, axis = parts(node.inputs[1])
    assert node.inputs[1].producer().inputs[0].dtype == ir.DataType.INT8
    assert scale.shape == (integers.shape[axis],)
    (exponent,) = weight_exponents(arrays["w"][np.newaxis], bits=bits, axis=0)
    assert np.all(scale == scales(exponent, bits=bits, signed=True))
    expected = fake_quantize(arrays["w"], scale[0], bits=bits, signed=True)
    np.testing.assert_array_equal(integers.astype(np.float32) * scale[0], expected)


@WITH_BIAS
def test_a_huge_bias_raises_the_common_threshold(build, rng, layer):
    """Per tensor, the threshold that the largest bias needs is that of all channels."""
    model, arrays = model_of(build, rng, layer, spread=1e8)
    node = layer_of(model)
    QuantizeWeights(first_last_bits=4, per_tensor={node.op_type})(model)
    _, weight_scale, _ = parts(node.inputs[1])
    integers, scale, _ = parts(node.inputs[2])
    assert len(set(weight_scale)) == 1
    assert np.all(np.abs(integers * scale.astype(np.float64) - arrays["b"]) <= scale / 2)


@WITH_BIAS
def test_bias_is_int32_of_the_scale_of_the_products(build, rng, layer):
    """The scale of a bias is s_x·s_w to the last bit, its values are within half of it."""
    model, arrays = model_of(build, rng, layer)
    QuantizeWeights()(model)
    node = layer_of(model)
    _, weight_scale, _ = parts(node.inputs[1])
    integers, scale, axis = parts(node.inputs[2])
    assert (integers.dtype, axis) == (np.int32, 0)
    assert scale.dtype == np.float32
    repeats = arrays["b"].size // weight_scale.size
    expected = np.tile(weight_scale * np.float32(GRID.scale), repeats)
    np.testing.assert_array_equal(scale, expected)
    assert np.all(np.abs(integers * scale.astype(np.float64) - arrays["b"]) <= scale / 2)


@pytest.mark.parametrize("layer", ["Conv", "grouped ConvTranspose", "Gemm"])
def test_a_huge_bias_raises_the_threshold(build, rng, layer):
    """A bias 10⁸ times as large as the weights fits in INT32, half a step off at most."""
    model, arrays = model_of(build, rng, layer, spread=1e8)
    QuantizeWeights(first_last_bits=4)(model)
    node = layer_of(model)
    _, weight_scale, axis = parts(node.inputs[1])
    plain = weight_exponents(arrays["w"], bits=4, axis=axis)
    assert np.all(weight_scale >= scales(plain, bits=4, signed=True))
    assert np.any(weight_scale > scales(plain, bits=4, signed=True))
    integers, scale, _ = parts(node.inputs[2])
    assert np.abs(integers.astype(np.int64)).max() <= 2**30
    assert np.all(np.abs(integers * scale.astype(np.float64) - arrays["b"]) <= scale / 2)
    largest = np.abs(arrays["b"]).reshape(-1, weight_scale.size).max(axis=0)
    raised = weight_scale > scales(plain, bits=4, signed=True)
    assert np.all(largest[raised] > 2**29 * weight_scale[raised] * GRID.scale)


CHAIN = """(float[1,3,6,6] x) => (float[n,c,h,w] y) {
    a = Conv(x, w)
    b = Conv(a, t)
    c = Conv(b, v)
    y = Conv(c, u)
}"""


def chain(build, rng):
    """Four Convs, every tensor quantized."""
    model = build(
        CHAIN,
        w=rng.normal(size=(4, 3, 1, 1)).astype(np.float32),
        **{name: rng.normal(size=(4, 4, 1, 1)).astype(np.float32) for name in "tvu"},
    )
    QuantizeActivations(dict.fromkeys("xabcy", GRID))(model)
    return model


def stored_types(model):
    """Type of the weight of each Conv; None where it is float."""
    found = []
    for node in model.graph:
        if node.op_type == "Conv":
            producer = node.inputs[1].producer()
            found.append(None if producer is None else producer.inputs[0].dtype.name)
    return found


def test_first_and_last_layers_keep_their_bits(build, rng):
    """The first and the last layer have ``first_last_bits``, all between them ``bits``."""
    model = chain(build, rng)
    QuantizeWeights(bits=4, first_last_bits=8)(model)
    assert stored_types(model) == ["INT8", "INT4", "INT4", "INT8"]
    other = chain(build, rng)
    QuantizeWeights(bits=8, first_last_bits=4)(other)
    assert stored_types(other) == ["INT4", "INT8", "INT8", "INT4"]


def test_bits_of_single_layers(build, rng):
    """A layer that is named has its own bits, an edge layer too; 5 bits are stored in INT8."""
    model = chain(build, rng)
    QuantizeWeights(bits=8, first_last_bits=8, bits_of={"make_a": 3, "make_b": 5})(model)
    assert stored_types(model) == ["INT4", "INT8", "INT8", "INT8"]
    weighted = [node for node in model.graph if node.op_type in ("Conv", "Gemm", "MatMul")]
    largest = [int(np.abs(parts(n.inputs[1])[0].astype(np.int64)).max()) for n in weighted]
    assert [largest[0] <= 4, largest[1] <= 16, min(largest[2:]) > 32] == [True] * 3


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_number_of_bits(build, rng, bits):
    """Integers stay on a grid of so many bits, in a type that holds it, nearest to the weight."""
    model, arrays = model_of(build, rng, "Conv")
    QuantizeWeights(first_last_bits=bits)(model)
    value = layer_of(model).inputs[1]
    assert value.producer().inputs[0].dtype.name == ("INT4" if bits <= 4 else "INT8")
    integers, scale, axis = parts(value)
    exponents = weight_exponents(arrays["w"], bits=bits, axis=axis)
    np.testing.assert_array_equal(scale, scales(exponents, bits=bits, signed=True))
    step = shaped(scale, axis, 4)
    expected = fake_quantize(arrays["w"], step, bits=bits, signed=True)
    np.testing.assert_array_equal(integers.astype(np.float32) * step, expected)


def test_kept_layers_stay_float(build, rng):
    """Layers named in ``excluded`` keep float weights."""
    model = chain(build, rng)
    QuantizeWeights(excluded={"make_b"})(model)
    assert stored_types(model) == ["INT8", None, "INT8", "INT8"]


def test_a_layer_with_a_float_input_stays_float(build, rng, operators):
    """Integer weights alone would cost accuracy and gain nothing."""
    model = build("(float[2,4] x) => (float[n,c] y) { y = Gemm(x, w) }", w=np.eye(4, dtype="f"))
    assert not QuantizeWeights()(model).modified
    assert operators(model) == ["Gemm"]


def test_products_of_two_tensors_are_left_alone(build):
    """Attention has no weights."""
    model = build("(float[4,4] x) => (float[4,4] y) { y = MatMul(x, x) }")
    QuantizeActivations({"x": GRID, "y": GRID})(model)
    assert not QuantizeWeights()(model).modified


@pytest.mark.parametrize(
    ("attributes", "shape"), [("<alpha=0.5>", (6,)), ("<beta=2.0>", (6,)), ("", (1,)), ("", (2, 6))]
)
def test_an_unusual_bias_of_a_gemm_stays_float(build, run, rng, attributes, shape):
    """With α, β or broadcasting, the bias is not what an integer kernel adds."""
    model = build(
        f"(float[2,4] x) => (float[n,c] y) {{ y = Gemm{attributes}(x, w, b) }}",
        w=rng.normal(size=(4, 6)).astype(np.float32),
        b=rng.normal(size=shape).astype(np.float32),
    )
    QuantizeActivations({"x": GRID, "y": GRID})(model)
    QuantizeWeights()(model)
    node = layer_of(model)
    assert node.inputs[1].producer().op_type == "DequantizeLinear"
    assert node.inputs[2].name == "b"
    assert np.isfinite(run(model, x=np.ones((2, 4), np.float32))["y"]).all()


@WITH_BIAS
@pytest.mark.parametrize("bias", [True, False])
def test_bias_correction_restores_the_mean(build, run, rng, layer, bias):
    """On the mean input, the corrected layer gives the float layer's mean, which 4 bits miss."""
    flat = layer.startswith("Gemm")
    model, arrays = model_of(build, rng, layer, bias=bias)
    mean = fake_quantize(rng.normal(size=4), GRID.scale, bits=8, signed=True)
    x = np.ones((2, 4) if flat else (2, 4, 6, 6), np.float32)
    x *= mean.astype(np.float32).reshape((4,) if flat else (4, 1, 1))

    def channel_means(corrected):
        copy = model.clone()
        layer_of(copy).attributes.pop("pads", None)
        if corrected is not None:
            QuantizeWeights(first_last_bits=4, input_means={"x": mean} if corrected else {})(copy)
        copy.graph.outputs[0] = layer_of(copy).outputs[0]
        y = next(iter(run(copy, x=x).values()))
        return y.mean(axis=(0, *range(2, y.ndim)), dtype=np.float64)

    exact = channel_means(None)
    plain = np.abs(channel_means(False) - exact).max()
    corrected = np.abs(channel_means(True) - exact).max()
    step = scales(weight_exponents(arrays["w"], bits=4, axis=LAYERS[layer][2]), bits=4, signed=True)
    assert corrected <= step.max() * GRID.scale  # rounding of the bias
    assert plain > 3 * step.max() * GRID.scale


@pytest.mark.parametrize(
    "layer", ["Conv", "grouped Conv", "depthwise Conv", "Gemm", "Gemm, transposed"]
)
def test_moments_compensate_row_by_row(build, rng, layer):
    """With second moments, each group and block is rounded by ``compensated`` on its own rows."""
    model, arrays = model_of(build, rng, layer)
    weight, axis = arrays["w"], LAYERS[layer][2]
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    groups = {"grouped Conv": 2, "depthwise Conv": 4}.get(layer, 1)
    blocks = 2 if groups == 1 else 1
    columns = rows.shape[1] // blocks
    x = rng.normal(size=(groups, blocks, columns, columns))
    moments = x @ x.swapaxes(-1, -2)
    QuantizeWeights(first_last_bits=4, input_moments={"make_y": moments})(model)
    integers, scale, _ = parts(layer_of(model).inputs[1])
    got = np.moveaxis(integers.astype(np.float64), axis, 0).reshape(rows.shape)
    per_group = len(rows) // groups
    for g in range(groups):
        members = slice(g * per_group, (g + 1) * per_group)
        for b in range(blocks):
            block = slice(b * columns, (b + 1) * columns)
            expected = Compensation.of(moments[g, b]).rounded(
                rows[members, block], scale[members], bits=4
            )
            np.testing.assert_array_equal(got[members, block], expected.integers)


@pytest.mark.parametrize("layer", ["Conv", "grouped Conv", "Gemm", "Gemm, transposed"])
@pytest.mark.parametrize("bits", [2, 3])
def test_thresholds_suit_the_output(build, rng, layer, bits):
    """No other of the three thresholds around that of least squared error has less error wᵀMw.

    Over a few models and moments some channels take another one than that.
    """
    groups, axis = (2 if layer == "grouped Conv" else 1), LAYERS[layer][2]
    changed = 0
    for _ in range(8):
        model, arrays = model_of(build, rng, layer)
        weight = arrays["w"]
        rows = np.moveaxis(weight, axis, 0).reshape(groups, weight.shape[axis] // groups, -1)
        x = rng.normal(size=(groups, 1, rows.shape[-1], 2 * rows.shape[-1])) + 1
        moments = x @ x.swapaxes(-1, -2)
        QuantizeWeights(bits=bits, first_last_bits=bits, input_moments={"make_y": moments})(model)
        integers, scale, _ = parts(layer_of(model).inputs[1])
        got = np.moveaxis(integers.astype(np.float64), axis, 0).reshape(rows.shape)
        exponents = weight_exponents(weight, bits=bits, axis=axis).reshape(groups, -1)
        of_row = scale.reshape(groups, -1)

        compensation = Compensation.of(moments[:, 0])
        damped = compensation.root.swapaxes(-1, -2) @ compensation.root
        order = compensation.order[:, np.newaxis, :]
        off = np.take_along_axis(got * of_row[..., np.newaxis] - rows, order, -1)
        least = np.einsum("gri,gij,grj->gr", off, damped, off)
        for change in (-1, 0, 1):
            steps = scales(exponents + change, bits=bits, signed=True)
            other = compensation.rounded(rows, steps, bits=bits)
            assert (least <= other.errors * (1 + 1e-9)).all()
        changed += int((of_row != scales(exponents, bits=bits, signed=True)).sum())
    assert changed


@pytest.mark.parametrize("layer", ["Conv", "grouped Conv", "Gemm", "Gemm, transposed"])
@pytest.mark.parametrize("compensate", [False, True])
def test_second_moments_are_restored(build, rng, layer, compensate):
    """wᵀMw of the output channels comes within 2 % of what it was, which 4 bits alone miss."""
    taken = layers.layer_of(layer_of(model_of(build, rng, layer)[0]))
    groups, axis = (2 if layer == "grouped Conv" else 1), LAYERS[layer][2]
    shape = {"Conv": (6, 64, 3, 3), "grouped Conv": (6, 48, 3, 3), "Gemm": (576, 6)}
    weight = rng.normal(size=shape.get(layer, (6, 576))).astype(np.float32)
    blocks = 1 if groups > 1 else 4
    columns = weight.size // 6 // blocks
    x = rng.normal(size=(groups, blocks, columns, 2 * columns)) + 0.3
    moments = x @ x.swapaxes(-1, -2) / x.shape[-1]

    def energies(corrected):
        integers, step = rounded_weight(
            [(taken, 1.0)],
            weight,
            bits=4,
            moments=moments,
            compensate=compensate,
            second_moments=corrected,
        )
        return energy(integers * shaped(step, axis, weight.ndim))

    def energy(array):
        rows = np.moveaxis(array, axis, 0).reshape(groups, -1, blocks, columns).astype(np.float64)
        return np.einsum("grbi,gbij,grbj->gr", rows, moments, rows).ravel()

    exact = energy(weight)
    plain, restored = (np.abs(energies(corrected) / exact - 1) for corrected in (False, True))
    assert plain.mean() > 0.03
    assert restored.mean() < 0.02
    assert restored.max() < 0.6 * plain.max()


LEVELS = """(float[1,4,6,6] x, float[1,4,3,3] p) => (float[n,c,h,w] y, float[n,c,h2,w2] z) {
    y = Conv<pads=[1,1,1,1]>(x, w, b)
    z = Conv(p, w, d)
}"""


def levels(build, rng, *, bias=1.0):
    """Two layers with one weight, the biases of the second so many times as large."""
    arrays = {
        "w": rng.normal(size=(6, 4, 3, 3)).astype(np.float32),
        "b": rng.normal(size=6).astype(np.float32),
        "d": (bias * rng.normal(size=6)).astype(np.float32),
    }
    model = build(LEVELS, **arrays)
    QuantizeActivations({"x": GRID, "p": Grid(0, 8, signed=True)})(model)
    return model, arrays


def test_a_shared_weight_is_stored_once(build, rng):
    """Both layers read the same integers and steps, and have biases on scales of their own."""
    model, arrays = levels(build, rng)
    QuantizeWeights()(model)
    first, second = (n for n in model.graph if n.op_type == "Conv")
    weights = [node.inputs[1].producer() for node in (first, second)]
    assert [a is b for a, b in zip(weights[0].inputs, weights[1].inputs, strict=True)] == [True] * 2
    for node, name, step in ((first, "b", GRID.scale), (second, "d", 2.0**-7)):
        integers, scale, _ = parts(node.inputs[2])
        np.testing.assert_array_equal(scale, parts(node.inputs[1])[1] * np.float32(step))
        assert np.all(np.abs(integers * scale.astype(np.float64) - arrays[name]) <= scale / 2)


def test_a_shared_weight_is_rounded_for_the_inputs_of_all(build, rng):
    """With the mean of their second moments, as if one layer had seen both inputs."""
    model, _ = levels(build, rng)
    moments = {}
    for name in ("make_y", "make_z"):
        x = rng.normal(size=(1, 1, 36, 36))
        moments[name] = x @ x.swapaxes(-1, -2)
    layer = layers.layer_of(next(n for n in model.graph if n.op_type == "Conv"))
    both = (moments["make_y"] + moments["make_z"]) / 2
    expected, _ = rounded_weight([(layer, GRID.scale)], layer.weight, bits=4, moments=both)
    QuantizeWeights(first_last_bits=4, input_moments=moments)(model)
    found = [parts(n.inputs[1])[0] for n in model.graph if n.op_type == "Conv"]
    np.testing.assert_array_equal(found[0].astype(np.float64), expected)


def test_the_largest_bias_of_all_readers_fits(build, rng):
    """The threshold of the shared weight is raised for the one that needs it most."""
    model, arrays = levels(build, rng, bias=2.0**24)
    QuantizeWeights()(model)
    first, second = (n for n in model.graph if n.op_type == "Conv")
    integers, scale, _ = parts(second.inputs[2])
    assert np.abs(integers.astype(np.int64)).max() <= 2**30
    assert np.all(np.abs(integers * scale.astype(np.float64) - arrays["d"]) <= scale / 2)
    assert first.inputs[1].producer().inputs[0] is second.inputs[1].producer().inputs[0]


def test_readers_with_float_inputs_keep_the_float_weight(build, rng):
    """The others share the integers."""
    model, _ = levels(build, rng)
    QuantizeWeights(excluded={"make_y"})(model)
    assert stored_types(model) == [None, "INT8"]


@pytest.mark.parametrize("shape", [(6,), (3, 4, 6), (1, 3, 4, 6)])
def test_a_stack_of_matrices_has_one_number(build, rng, operators, shape):
    """So has a vector: ONNX Runtime has kernels for steps of the columns of one matrix alone."""
    weight = rng.normal(size=shape).astype(np.float32)
    left = (*shape[:-2], 5, shape[-2] if len(shape) > 1 else shape[0])
    dimensions = ",".join(map(str, left))
    outputs = ",".join("abcd"[: len(left) - (len(shape) == 1)])
    model = build(
        f"(float[{dimensions}] x) => (float[{outputs}] y) {{ y = MatMul(x, w) }}", w=weight
    )
    QuantizeActivations({"x": GRID, "y": GRID})(model)
    QuantizeWeights()(model)
    layer = next(node for node in model.graph if node.op_type == "MatMul")
    dequantized = layer.inputs[1].producer()
    assert dequantized.inputs[1].const_value.numpy().shape == ()
    assert "axis" not in dequantized.attributes
    integers, scale = (value.const_value.numpy() for value in dequantized.inputs)
    assert np.abs(integers * scale - weight).max() <= scale
    assert "QLinearMatMul" in operators(session.executed_graph(model))
