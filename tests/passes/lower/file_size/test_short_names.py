"""What quantization inserted gets short names; what the user named keeps its own."""

import numpy as np
import onnx
import onnx_ir as ir

from passes import (
    DerivedBiasScales,
    Int4WeightsByCast,
    IntegerClips,
    QuantizeActivations,
    ShortNames,
    UnsignedActivations,
)
from passes.arithmetic import Grid

INSERTED = {"QuantizeLinear", "DequantizeLinear", "Cast", "Clip"}


def test_inserted_names_are_numbers(mixed, run, rng):
    """All that was inserted has numbers, all else its names, and the values are the same bits."""
    model = mixed(4, 4)
    for change in (UnsignedActivations(), IntegerClips(), Int4WeightsByCast()):
        change(model)
    x = rng.normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    before = run(model, x=x)
    users = {n.name: n.outputs[0].name for n in model.graph if n.op_type not in INSERTED}
    outputs = {value.name for value in model.graph.outputs}
    ShortNames()(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    names = [n.outputs[0].name for n in model.graph if n.op_type in INSERTED]
    assert [n for n in names if n not in outputs] == [str(i) for i in range(len(names) - 2)]
    kept = {n.name: n.outputs[0].name for n in model.graph if n.op_type not in INSERTED}
    assert kept == users
    assert all(n.name == "" for n in model.graph if n.op_type in INSERTED)
    after = run(model, x=x)
    assert list(after) == list(before)
    for name, expected in before.items():
        np.testing.assert_array_equal(after[name], expected)


def test_scales_and_their_products_are_short(mixed, run, rng):
    """Scales per channel have short names, also where a bias's scale is their product."""
    model = mixed(4, 4)
    for change in (UnsignedActivations(), DerivedBiasScales(smallest=1)):
        change(model)
    x = rng.normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    before = run(model, x=x)
    kept = {v.name for v in model.graph.initializers.values() if v.shape.rank() != 1}
    lists = [n.inputs[1] for n in model.graph if n.op_type == "DequantizeLinear"]
    stored = {v for v in lists if v.is_initializer() and v.shape.rank()}
    products = [n for n in model.graph if n.op_type == "Mul" and n.outputs[0] in lists]
    assert len(stored) > 1
    assert len(products) > 1
    ShortNames()(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert {v.name for v in stored} == {f"s{i}" for i in range(len(stored))}
    assert all(n.name == "" and n.outputs[0].name.isdecimal() for n in products)
    assert kept <= set(model.graph.initializers)
    after = run(model, x=x)
    for name, expected in before.items():
        np.testing.assert_array_equal(after[name], expected)


def test_the_users_names_are_not_touched(build):
    """The user's own Cast and Clip of indices keep their names; a number in use is not given."""
    model = build(
        """(float[4] x, int64[4] i) => (float[4] y, int64[4] j) {
            [clamp] j = Clip(i, none)
            [convert] number = Cast<to=1>(j)
            y = Add(x, number)
        }""",
        none=np.int64(0),
    )
    model.graph[1].outputs[0].name = "0"
    QuantizeActivations({"x": Grid(0, 8, signed=True)})(model)
    ShortNames()(model)
    by_type = {node.op_type: node for node in model.graph}
    assert (by_type["Clip"].name, by_type["Clip"].outputs[0].name) == ("clamp", "j")
    assert (by_type["Cast"].name, by_type["Cast"].outputs[0].name) == ("convert", "0")
    assert by_type["QuantizeLinear"].outputs[0].name == "0_2"
