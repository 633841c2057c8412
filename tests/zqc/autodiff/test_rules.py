"""Every rule against central differences on ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest

from tests.zqc.autodiff.case import Case
from tests.zqc.autodiff.cases import CASES
from zqc.autodiff import engine
from zqc.runtime import session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.generic]

# A five-point stencil: exact for polynomials of degree 4, so the step can be so large that float32
# rounding hardly matters. In the domain "spaced" no kink lies within twice the step of an input.
STEP = 0.02
WEIGHTS = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}
STRAIGHT = {"Ceil", "Floor", "Round"}  # whose gradient is by definition not their slope
TOLERANCE = 1e-4  # of the norms of cotangent and gradient; a factor of 1.01 fails 404 of 413 rows


def _batch_can_be_symbolic(case: Case) -> bool:
    """Whether the first input has a batch axis: rank 3 or more, and axis 0 is not acted upon."""
    if case.op == "Squeeze" and len(case.inputs) == 1:
        return False  # what Squeeze leaves would be unknown
    acted = {"Slice", "Gather", "Pad", "Tile", "Expand", "MatMul", "Resize", "Gemm"}
    acted |= {"Einsum", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "TopK"}
    first = case.inputs[0]
    return (
        isinstance(first, tuple)
        and len(first) > 2
        and first[0] > 1
        and case.op not in acted
        and all(case.attributes.get("axes") != axes for axes in ([0],))
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_equals_central_difference(case: Case) -> None:
    """The gradient along a random direction equals the five-point difference of the loss."""
    rng = np.random.default_rng(0)
    model, values = _model(case, rng)
    outputs = list(model.graph.outputs)
    wrt = list(model.graph.inputs)
    forward = session.load(model)
    start = forward(values)
    used = range(case.outputs) if case.used is None else case.used
    seeds = {f"y{i}": rng.standard_normal(start[f"y{i}"].shape) for i in used}
    loss = _project(model, {y: seeds[y.name] for y in outputs if y.name in seeds})
    gradients = engine.gradient(model, loss, wrt)
    model.graph.outputs[:] = gradients
    actual = session.load(model)(values)

    for value, gradient in zip(wrt, gradients, strict=True):
        array = actual[gradient.name]
        assert array.shape == values[value.name].shape
        direction = rng.uniform(-1, 1, array.shape)
        expected = 0.0
        for offset, weight in WEIGHTS.items():
            moved = values[value.name] + offset * STEP * direction
            results = forward({**values, value.name: np.asarray(moved, np.float32)})
            expected += weight / STEP * sum(np.sum(results[y] * s) for y, s in seeds.items())
        scale = np.linalg.norm(array) + np.sqrt(sum(np.sum(s**2) for s in seeds.values()))
        assert np.sum(array * direction) == pytest.approx(expected, abs=TOLERANCE * scale)


@pytest.mark.parametrize("case", [case for case in CASES if _batch_can_be_symbolic(case)], ids=str)
def test_gradient_holds_no_batch_size(case: Case) -> None:
    """Built with a symbolic batch dimension, the gradient is the same."""
    results = []
    for symbolic in (False, True):
        rng = np.random.default_rng(0)
        model, values = _model(case, rng, batch="N" if symbolic else None)
        loss = _square(model, model.graph.outputs)
        gradients = engine.gradient(model, loss, list(model.graph.inputs))
        model.graph.outputs[:] = gradients
        results.append(session.load(model)(values))
    for name, array in results[0].items():
        np.testing.assert_array_equal(array, results[1][name])


def test_every_rule_has_a_row() -> None:
    """A rule without a row in the table, or a row without a rule, fails the build."""
    elsewhere = {"QuantizeLinear", "DequantizeLinear"}  # test_rules_quantization.py
    assert {case.op for case in CASES} | STRAIGHT | elsewhere == engine.supported_operators()


@pytest.mark.parametrize("op", sorted(STRAIGHT))
def test_rounding_lets_the_gradient_through(op: str) -> None:
    """The slope of a step is 0 or infinite; what is taken is that of the line it follows."""
    model, values = _model(Case(op, ((2, 3, 4),)), np.random.default_rng(0))
    (y,), (x,) = model.graph.outputs, model.graph.inputs
    seed = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    model.graph.outputs[:] = engine.gradient(model, _project(model, {y: seed}), [x])
    np.testing.assert_array_equal(session.load(model)(values)["x0_gradient"], seed)


def test_bounds_of_clip_get_the_gradient_of_what_they_clipped() -> None:
    """Of 1…6 clipped to 2.5…4.5, with gradients 1…6: 1 + 2 below, 3 + 4 within, 5 + 6 above."""
    model, _ = _model(Case("Clip", ((6,), (), ())), np.random.default_rng(0))
    numbers = np.arange(1, 7, dtype=np.float32)
    values = {"x0": numbers, "x1": np.float32(2.5), "x2": np.float32(4.5)}
    (y,), wrt = list(model.graph.outputs), list(model.graph.inputs)
    model.graph.outputs[:] = engine.gradient(model, _project(model, {y: numbers}), wrt)
    got = session.load(model)({name: np.asarray(array) for name, array in values.items()})
    np.testing.assert_array_equal(got["x0_gradient"], [0, 0, 3, 4, 0, 0])
    assert (got["x1_gradient"], got["x2_gradient"]) == (3, 11)


def _model(
    case: Case, rng: np.random.Generator, batch: str | None = None
) -> tuple[ir.Model, dict[str, Array]]:
    inputs: list[ir.Value | None] = []
    feeds, initializers = {}, []
    for i, spec in enumerate(case.inputs):
        if spec is None:
            inputs.append(None)
            continue
        drawn = isinstance(spec, tuple)
        data = _draw(case.domain, spec, rng) if drawn else _constant(spec)
        value = ir.val(f"x{i}", ir.DataType.from_numpy(data.dtype), data.shape)
        inputs.append(value)
        if drawn and i not in case.constants:
            feeds[value.name] = data
            if batch is not None and i == 0:
                value.shape = ir.Shape([batch, *data.shape[1:]])
        else:
            value.const_value = ir.tensor(data, name=value.name)
            initializers.append(value)
    node = ir.node(case.op, inputs, case.attributes, num_outputs=case.outputs, name="tested")
    for i, output in enumerate(node.outputs):
        integer = i in case.integers
        output.name = f"y{i}"
        output.dtype = ir.DataType.INT64 if integer else ir.DataType.FLOAT
    graph = ir.Graph(
        [value for value in inputs if value is not None and value.name in feeds],
        node.outputs,
        nodes=[node],
        initializers=initializers,
        opset_imports={"": case.opset},
        name="case",
    )
    return ir.Model(graph, ir_version=8), feeds


def _draw(domain: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if domain == "smooth":
        return np.asarray(rng.standard_normal(shape), np.float32)
    if domain == "positive":
        return np.asarray(rng.uniform(0.5, 2, shape), np.float32)
    size = int(np.prod(shape))
    places = rng.permutation(size) - size // 2
    return np.asarray(places * 0.1 + 0.05, np.float32).reshape(shape)


def _constant(spec: list[int] | Array) -> Array:
    return np.asarray(spec, np.int64) if isinstance(spec, list) else spec


def _project(model: ir.Model, seeds: dict[ir.Value, Array]) -> ir.Value:
    """Append Σ seed·output."""
    terms = []
    for y, seed in seeds.items():
        constant = _initializer(model, f"{y.name}_seed", np.asarray(seed, np.float32))
        terms.append(_node(model, "ReduceSum", _node(model, "Mul", y, constant), keepdims=0))
    return _node(model, "Sum", *terms)


def _square(model: ir.Model, outputs: Sequence[ir.Value]) -> ir.Value:
    """Append Σ output²."""
    terms = [_node(model, "ReduceSum", _node(model, "Mul", y, y), keepdims=0) for y in outputs]
    return _node(model, "Sum", *terms)


def _initializer(model: ir.Model, name: str, data: Array) -> ir.Value:
    value = ir.val(name, const_value=ir.tensor(data, name=name))
    model.graph.register_initializer(value)
    return value


def _node(model: ir.Model, op: str, *inputs: ir.Value, **attributes: int) -> ir.Value:
    node = ir.node(op, inputs, attributes)
    model.graph.append(node)
    return node.outputs[0]
