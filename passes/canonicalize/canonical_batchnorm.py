"""A BatchNormalization written out in arithmetic becomes one operator, with its statistics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from passes.graph import (
    Namer,
    add_initializer,
    constant,
    is_float,
    name_of,
    rank,
    replace,
    scalar,
    sole_consumer,
)
from passes.operators import RESHAPING

_ARITHMETIC = frozenset({"Add", "Div", "Mul", "Sub"})
_OF_ONE = frozenset({"Cast", "CastLike", "Expand", "Identity", "Neg", "Pow", "Reciprocal", "Sqrt"})
_MOST_STEPS = 4  # −μ, /√, ·γ, +β
_MOST_TERMS = 4


@dataclass(frozen=True)
class CanonicalBatchNorm(ir.passes.InPlacePass):
    """Write γ·(x − μ)/√(σ²+ε) + β as BatchNormalization(x). Exact up to float rounding.

    A FrozenBatchNorm computes scale and shift from its four parameters wherever it stands, and once
    these constants are folded its statistics are lost. So this must run before anything is folded.

    Additions, products, quotients and roots are multiplied out to a sum of products of powers.

    1. That is x·γ·(σ²+ε)^−½ − μ·γ·(σ²+ε)^−½ + β, in whatever order it was computed: an operator
       with these parameters. γ may be missing, and so may β.
    2. Parameters may be reshaped on the way; what meets the tensor must vary along axis 1 alone.
    3. Declined: an intermediate result that somebody else reads as well, other sums, computed
       parameters, unknown shapes.

    Needs shapes. What computed the constants is left for the removal of dead code.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every sum that qualifies, the longest first."""
        graph = model.graph
        constants = _constants(graph)
        name = Namer(graph)
        modified = False
        for node in reversed(list(graph) if constants else []):
            known = node.op_type in _ARITHMETIC and node.domain == "" and node.graph is graph
            found = _normalised(node, constants) if known else None
            if found is not None:
                _write(graph, found, name)
                modified = True
        return ir.passes.PassResult(model, modified)


@dataclass(frozen=True)
class _Shifted:
    """The sum σ²+ε as a factor of its own."""

    variance: ir.Value
    epsilon: float


_Atom: TypeAlias = ir.Value | _Shifted


@dataclass(frozen=True)
class _Term:
    """A product of powers with a number before it."""

    number: float
    powers: Mapping[_Atom, float] = field(default_factory=lambda: MappingProxyType({}))

    def times(self, other: _Term, power: float = 1.0) -> _Term:
        powers = dict(self.powers)
        for atom, exponent in other.powers.items():
            powers[atom] = powers.get(atom, 0.0) + exponent * power
        left = {atom: exponent for atom, exponent in powers.items() if exponent}
        return _Term(self.number * other.number**power, left)


_Sum: TypeAlias = tuple[_Term, ...]
_ONE = _Term(1.0)


@dataclass(frozen=True)
class _Normalised:
    """What a BatchNormalization is made of, and the nodes that compute it, the last one first."""

    nodes: tuple[ir.Node, ...]
    source: ir.Value
    gamma: ir.Value | None
    beta: ir.Value | None
    mean: ir.Value
    variance: ir.Value
    epsilon: float


def _constants(graph: ir.Graph) -> set[ir.Value]:
    """Values that follow from initializers by arithmetic; nothing where none is a root."""
    found: set[ir.Value] = set()
    roots = False
    for node in graph:
        inputs = [value for value in node.inputs if value is not None]
        known = _ARITHMETIC | _OF_ONE | RESHAPING
        if node.domain == "" and node.op_type in known and inputs:
            data = inputs[:1] if node.op_type in (RESHAPING | _OF_ONE) - {"Pow"} else inputs
            if all(value in found or constant(value) is not None for value in data):
                found.update(node.outputs)
                roots = roots or node.op_type in ("Pow", "Sqrt")
    return found if roots else set()


def _normalised(last: ir.Node, constants: set[ir.Value]) -> _Normalised | None:
    """Follow the data back from the last node, until what was done to them is a normalisation."""
    steps: list[tuple[ir.Node, int]] = []
    node: ir.Node | None = last
    while node is not None and len(steps) < _MOST_STEPS:
        position = _data_position(node, constants)
        if position is None:
            return None
        steps.append((node, position))
        source = node.inputs[position]
        assert source is not None  # it has a shape
        terms: _Sum | None = (_Term(1.0, {source: 1.0}),)
        for step, index in reversed(steps):
            operand = _terms(step.inputs[1 - index])
            terms = _applied(step.op_type, terms, operand, index)
        nodes = tuple(step for step, _ in steps)
        found = None if terms is None else _read(nodes, source, terms)
        if found is not None:
            return found
        node = source.producer() if sole_consumer(source) is not None else None
        if node is not None and (node.op_type not in _ARITHMETIC or node.domain != ""):
            return None
    return None


def _data_position(node: ir.Node, constants: set[ir.Value]) -> int | None:
    """Which operand is data, where the other one is a constant per channel or a number."""
    for position in (0, 1):
        data, other = node.inputs[position], node.inputs[1 - position]
        if data is None or other is None or not is_float(node.outputs[0]):
            continue
        if data in constants or constant(data) is not None:
            continue
        if other not in constants and constant(other) is None:
            return None
        return position if _varies_along_channels(other, data) else None
    return None


def _varies_along_channels(value: ir.Value, data: ir.Value) -> bool:
    """Whether a value is broadcast over the tensor along axis 1 alone."""
    dimensions = rank(data)
    if value.shape is None or dimensions is None or len(value.shape) > dimensions:
        return False
    shape = [1] * (dimensions - len(value.shape)) + list(value.shape)
    return all(size == 1 for axis, size in enumerate(shape) if axis != 1)


def _terms(value: ir.Value | None) -> _Sum | None:
    """Multiply out a constant."""
    if value is None:
        return None
    number = scalar(value)
    if number is not None:
        return (_Term(number),)
    if constant(value) is not None:
        return (_Term(1.0, {value: 1.0}),)
    node = value.producer()
    if node is None or not is_float(value):
        return None
    first = _terms(node.inputs[0])
    if node.op_type in ("Sqrt", "Reciprocal"):
        return _power(first, 0.5 if node.op_type == "Sqrt" else -1.0)
    if node.op_type == "Pow":
        exponent = scalar(node.inputs[1])
        return None if exponent is None else _power(first, exponent)
    if node.op_type == "Neg":
        return None if first is None else _product((_Term(-1.0),), first)
    if node.op_type in _ARITHMETIC:
        return _applied(node.op_type, first, _terms(node.inputs[1]), 0)
    return first


def _applied(op_type: str, data: _Sum | None, other: _Sum | None, position: int) -> _Sum | None:
    """The result of one operator, of whose operands ``data`` stands at ``position``."""
    if data is None or other is None:
        return None
    left, right = (data, other) if position == 0 else (other, data)
    if op_type == "Mul":
        return _product(left, right)
    if op_type == "Div":
        inverse = _power(right, -1.0)
        return None if inverse is None else _product(left, inverse)
    sign = -1.0 if op_type == "Sub" else 1.0
    return _collected((*left, *(_Term(sign * term.number, term.powers) for term in right)))


def _product(left: _Sum, right: _Sum) -> _Sum | None:
    return _collected(one.times(other) for one in left for other in right)


def _collected(terms: Iterable[_Term]) -> _Sum | None:
    """Equal products added up; None where too many are left."""
    numbers: dict[frozenset[tuple[_Atom, float]], float] = {}
    for term in terms:
        key = frozenset(term.powers.items())
        numbers[key] = numbers.get(key, 0.0) + term.number
    left = tuple(_Term(number, dict(key)) for key, number in numbers.items() if number)
    return left if len(left) <= _MOST_TERMS else None


def _power(terms: _Sum | None, exponent: float) -> _Sum | None:
    """A power of one product, or of σ²+ε."""
    if terms is None:
        return None
    if len(terms) == 1:
        (term,) = terms
        return (_ONE.times(term, exponent),) if term.number > 0 or exponent == -1 else None
    numbers = [term.number for term in terms if not term.powers]
    values = [_alone(term) for term in terms if term.powers]
    if len(numbers) == len(values) == 1 and values[0] is not None and numbers[0] > 0:
        return (_Term(1.0, {_Shifted(values[0], numbers[0]): exponent}),)
    return None


def _alone(term: _Term) -> ir.Value | None:
    """The value that is the whole term."""
    if len(term.powers) != 1 or not math.isclose(term.number, 1.0, rel_tol=1e-6):
        return None
    ((atom, exponent),) = term.powers.items()
    return atom if isinstance(atom, ir.Value) and exponent == 1 else None


def _read(nodes: tuple[ir.Node, ...], source: ir.Value, terms: _Sum) -> _Normalised | None:
    """Case 1: the parameters of a sum that is a normalisation of the source."""
    with_source = [term for term in terms if source in term.powers]
    if len(with_source) != 1 or with_source[0].powers[source] != 1:
        return None
    scale = with_source[0].times(_Term(1.0, {source: -1.0}))
    shifted = [atom for atom in scale.powers if isinstance(atom, _Shifted)]
    if len(shifted) != 1 or scale.powers[shifted[0]] != -0.5:
        return None
    without_root = scale.times(_Term(1.0, {shifted[0]: 0.5}))
    gamma = _alone(without_root) if without_root.powers else None
    if gamma is None and (without_root.powers or not math.isclose(scale.number, 1.0, rel_tol=1e-6)):
        return None
    mean = beta = None
    for term in (term for term in terms if term is not with_source[0]):
        shift = _alone(term)
        negative = _alone(_Term(-1.0).times(term).times(scale, -1.0))
        if shift is not None and beta is None:
            beta = shift
        elif negative is not None and mean is None:
            mean = negative
        else:
            return None
    if mean is None:
        return None
    (root,) = shifted
    found = _Normalised(nodes, source, gamma, beta, mean, root.variance, root.epsilon)
    return found if _sizes_agree(found) else None


def _sizes_agree(found: _Normalised) -> bool:
    shape = found.source.shape
    arrays = [constant(v) for v in (found.gamma, found.beta, found.mean, found.variance)]
    return shape is not None and all(a is None or a.size == shape[1] for a in arrays)


def _write(graph: ir.Graph, found: _Normalised, name: Namer) -> None:
    last = found.nodes[0]
    output = last.outputs[0]
    count = constant(found.mean)
    assert count is not None  # it was read from an initializer

    def vector(value: ir.Value | None, default: float, what: str) -> ir.Value:
        array = constant(value)
        if array is not None and value is not None and array.ndim == 1:
            return value
        if array is None:
            array = np.full(count.size, default, np.float32)
        return add_initializer(graph, name(f"{name_of(output)}_{what}"), array.reshape(-1))

    inputs = [
        found.source,
        vector(found.gamma, 1.0, "scale"),
        vector(found.beta, 0.0, "bias"),
        vector(found.mean, 0.0, "mean"),
        vector(found.variance, 1.0, "variance"),
    ]
    new = ir.node("BatchNormalization", inputs, {"epsilon": found.epsilon}, name=last.name)
    graph.insert_before(last, new)
    replace(output, new.outputs[0])
    graph.remove(found.nodes, safe=True)
