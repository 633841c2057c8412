"""Weights of few bits are packed into bytes and come out of them unchanged."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from passes import Int4WeightsByCast, PackedWeights
from passes.lower.file_size.packed_weights import packed_bytes
from zqc.runtime import session

ALL = (2, 3, 4, 5, 6, 7)


def integers(rng, bits, *shape):
    """Numbers that need so many bits, both ends among them."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    values = rng.integers(low, high, shape, endpoint=True)
    values.flat[:2] = low, high
    return values.astype(np.int8)


@pytest.fixture
def layers(build):
    """A net of Conv layers with integer weights, each stored in INT4 where it fits or in INT8."""

    def net(*weights, int4=True):
        lines, arrays, source = [], {"one": np.float32(1)}, "x"
        for i, weight in enumerate(weights):
            lines.append(f"d{i} = DequantizeLinear(w{i}, one) c{i} = Conv({source}, d{i})")
            arrays[f"w{i}"], source = weight, f"c{i}"
        first = weights[0].shape[1]
        text = f"(float[1,{first},6,6] x) => (float[n,c,h,w] y) {{ {' '.join(lines)} "
        model = build(f"{text} y = Identity({source}) }}", **arrays)
        for i, weight in enumerate(weights):
            if int4 and weight.min() >= -8 and weight.max() <= 7:
                tensor = ir.tensor(weight, dtype=ir.DataType.INT4, name=f"w{i}")
                model.graph.initializers[f"w{i}"].const_value = tensor
                model.graph.initializers[f"w{i}"].type = ir.TensorType(ir.DataType.INT4)
        return model

    return net


def same(model, before, x):
    """Whether a model gives the same bits, with every node as it is written and folded."""
    runs = [session.load(model, threads=1, optimize=way)({"x": x})["y"] for way in (False, True)]
    for after in runs:
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("bits", ALL)
def test_bytes_hold_the_integers(bits, rng):
    """Digits lie in the bytes as the formula says: read back bit by bit."""
    values = integers(rng, bits, 64)
    digit = bits if bits in (2, 4) else 1
    packed = packed_bytes(values, bits)
    assert packed.shape == (bits // digit, 64 * digit // 8)
    planes = np.unpackbits(packed, axis=1, bitorder="little").reshape(len(packed), 64, digit)
    places = np.concatenate([1 << np.arange(bits - 1), [-(1 << (bits - 1))]])  # two's complement
    np.testing.assert_array_equal(np.moveaxis(planes, 0, 1).reshape(64, bits) @ places, values)


@pytest.mark.parametrize("bits", ALL)
def test_values_stay(bits, layers, rng, run, operators):
    """Layers of any size share a tensor of so many bits, are unpacked to the same, and folded."""
    weights = [
        integers(rng, bits, *shape)
        for shape in ((13, 3, 3, 3), (37, 13, 1, 1), (63, 37, 2, 2), (1, 63, 1, 1))
    ]
    model = layers(*weights)
    x = rng.integers(0, 3, (1, 3, 6, 6)).astype(np.float32)
    before = run(model, x=x)["y"]
    assert PackedWeights(ALL)(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    packed = [v for n, v in model.graph.initializers.items() if n.startswith("packed")]
    stored = sum(value.const_value.nbytes for value in packed)
    total = sum(weight.size for weight in weights)
    assert [value.dtype for value in packed] == [ir.DataType.UINT8]
    assert total * bits / 8 <= stored <= total * bits / 8 + bits
    assert operators(model).count("Reshape") == 2 + len(weights)
    assert not PackedWeights(ALL)(model).modified
    same(model, before, x)
    assert not {"Gather", "MatMulInteger", "Reshape"} & set(
        operators(session.executed_graph(model))
    )


def test_opset_13_will_do(layers, rng):
    """No operator is newer, so that the same graph is valid at the opset of old runtimes."""
    model = layers(integers(rng, 4, 64, 8, 3, 3), integers(rng, 3, 64, 64, 1, 1))
    PackedWeights(ALL)(model)
    model.opset_imports[""] = 13
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert {value.dtype for value in model.graph.initializers.values()} == {
        ir.DataType.UINT8,
        ir.DataType.INT8,
        ir.DataType.FLOAT,
        ir.DataType.INT64,
    }


@pytest.mark.parametrize("bits", ALL)
def test_no_arithmetic_can_differ(bits, layers, rng):
    """Nothing overflows or is divided: wrapping, saturating and unlimited integers agree.

    The operators run here in NumPy on integers of 64 bits, and every result is held against the
    limits of its type.
    """
    weights = [integers(rng, bits, *shape) for shape in ((16, 8, 3, 3), (7, 16, 1, 1))]
    model = layers(*weights)
    PackedWeights(ALL)(model)
    limits = {  # of the results, by operator; what only moves numbers has those of its input
        "MatMulInteger": np.iinfo(np.int32),
        ir.DataType.INT32.value: np.iinfo(np.int32),
        ir.DataType.INT8.value: np.iinfo(np.int8),
    }
    arrays = {
        value: value.const_value.numpy().astype(np.int64)
        for value in model.graph.initializers.values()
    }
    for node in model.graph:
        if node.op_type == "DequantizeLinear":
            continue
        if not all(value in arrays for value in node.inputs):
            break  # the layers begin
        a, *others = (arrays[value] for value in node.inputs)
        match node.op_type:
            case "Cast":
                results = [a]
                limit = limits[node.attributes["to"].as_int()]
                assert limit.min <= a.min() <= a.max() <= limit.max
            case "Expand":
                results = [np.broadcast_to(a, others[0])]
            case "Concat":
                results = [np.concatenate([a, *others], axis=2)]
            case "Reshape":
                results = [a.reshape(others[0])]
            case "Gather":
                results = [a[others[0]]]
            case "Split":
                results = np.split(a, np.cumsum(others[0])[:-1], axis=1)
            case "MatMulInteger":
                results = [(a - others[1]) @ others[0]]
                most = np.abs(a - others[1]) @ np.abs(others[0])  # in whatever order it is added up
                assert most.max() <= limits["MatMulInteger"].max
        arrays.update(zip(node.outputs, results, strict=True))
    read = [node.inputs[0] for node in model.graph if node.op_type == "DequantizeLinear"]
    for value, weight in zip(read, weights, strict=True):
        np.testing.assert_array_equal(arrays[value], weight)


@pytest.mark.parametrize("bits", [3, 4])
def test_the_standard_says_the_same(bits, layers, rng):
    """The evaluator of onnx unpacks the weights as ONNX Runtime does."""
    weights = [integers(rng, bits, 16, 8, 3, 3), integers(rng, bits, 7, 16, 1, 1)]
    model = layers(*weights)
    PackedWeights(ALL)(model)
    read = [node.inputs[0] for node in model.graph if node.op_type == "DequantizeLinear"]
    model.graph.outputs[:] = read
    evaluator = ReferenceEvaluator(ir.to_proto(model))
    found = evaluator.run(None, {"x": np.zeros((1, 8, 6, 6), np.float32)})
    for values, weight in zip(found, weights, strict=True):
        assert values.dtype == np.int8
        np.testing.assert_array_equal(values, weight)


def test_what_is_declined(layers, rng, run):
    """Other widths, eight bits, vectors and integers with other readers stay as they are."""
    wide, seven = integers(rng, 8, 64, 8, 3, 3), integers(rng, 7, 64, 64, 3, 3)
    four, shown = integers(rng, 4, 64, 64, 3, 3), integers(rng, 3, 3, 64, 1, 1)
    model = layers(wide, seven[..., :1, :1], four[..., :1, :1], shown)
    model.graph.outputs.append(model.graph.initializers["w3"])
    assert not PackedWeights((2, 3, 5, 6))(model).modified
    vector = layers(integers(rng, 3, 4096, 1, 1, 1))
    vector.graph.initializers["w0"].const_value = ir.tensor(integers(rng, 3, 4096), name="w0")
    assert not PackedWeights()(vector).modified
    del run


def test_small_gains_are_not_worth_it(layers, rng):
    """A few weights of three bits stay in INT4, or join those of four where INT4 has to go."""
    small, large = integers(rng, 3, 16, 8, 3, 3), integers(rng, 4, 8, 16, 3, 3)
    assert not PackedWeights()(layers(small, large)).modified
    model = layers(small, large)
    assert PackedWeights(ALL)(model).modified
    packed = {n: v for n, v in model.graph.initializers.items() if n.startswith("packed")}
    assert {n: v.const_value.nbytes for n, v in packed.items()} == {"packed_4": small.size}
    in_bytes = layers(integers(rng, 5, 8, 8, 3, 3), int4=False)
    assert not PackedWeights()(in_bytes).modified


def test_bits_are_what_the_values_need(layers, rng):
    """Three bits in INT8 are packed as three: the type does not matter."""
    model = layers(integers(rng, 3, 64, 64, 3, 3), int4=False)
    assert PackedWeights()(model).modified
    assert "packed_3" in model.graph.initializers


def test_groups_are_limited(layers, rng, run, operators):
    """Not more than ``most`` weights are unpacked at once, but for a layer that alone has more."""
    weights = [integers(rng, 2, 40, 40, 1, 1) for _ in range(4)]
    weights.insert(2, integers(rng, 2, 40, 40, 2, 2))
    model = layers(*weights)
    x = rng.integers(0, 2, (1, 40, 6, 6)).astype(np.float32)
    before = run(model, x=x)["y"]
    PackedWeights(most=3200)(model)
    sizes = [len(node.outputs) for node in model.graph if node.op_type == "Split"]
    assert sorted(sizes) == [1, 2, 2]
    same(model, before, x)


def test_layers_of_one_kernel_share_its_shape(layers, rng):
    """The shapes of the kernels are stored once."""
    model = layers(*(integers(rng, 3, 32, 32, 1, 1) for _ in range(6)))
    PackedWeights()(model)
    shapes = [v for v in model.graph.initializers.values() if v.dtype == ir.DataType.INT64]
    assert sorted(value.const_value.numpy().tolist() for value in shapes) == [
        [-1, 32, 1, 1],
        [3, -1],
        [16, 16, 4],
        [256, -1],
        [1024] * 6,
    ]


def test_a_shared_weight_is_packed_once(layers, rng, run):
    """Two DequantizeLinear that read the same weight still do."""
    weight = integers(rng, 2, 56, 56, 1, 1)
    model = layers(weight, weight)
    first = model.graph.initializers["w0"]
    second = next(use.node for use in model.graph.initializers["w1"].uses())
    second.replace_input_with(0, first)
    x = rng.integers(0, 2, (1, 56, 6, 6)).astype(np.float32)
    before = run(model, x=x)["y"]
    PackedWeights()(model)
    assert model.graph.initializers["packed_2"].const_value.nbytes == weight.size // 4
    same(model, before, x)


def test_casts_are_for_what_is_left(layers, rng):
    """Four bits go through INT4 and three through bytes, by default."""
    model = layers(integers(rng, 4, 96, 64, 1, 1), integers(rng, 3, 64, 96, 1, 1))
    PackedWeights()(model)
    assert Int4WeightsByCast()(model).modified
    kinds = [node.op_type for node in model.graph if node.op_type == "Cast"]
    assert len(kinds) == 3  # one of INT4, two in the chain that unpacks
