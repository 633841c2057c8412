"""The backward walk: asks the table for rules, sums what meets, undoes broadcasts."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from passes.analysis.topology import nested_inputs
from zqc.autodiff.context import Context, Vjp, unsupported
from zqc.autodiff.emitter import Dim, Emitter, Operand, dims
from zqc.autodiff.rules.table import ELEMENTWISE, RULES, Rule
from zqc.autodiff.shapes import infer_shapes
from zqc.errors import InputShapeError, UnsupportedOperatorError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_FLOATS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
)


def supported_operators() -> frozenset[str]:
    """Return the operators of the default domain that have a gradient rule."""
    return frozenset(RULES)


def gradient(model: ir.Model, loss: ir.Value, wrt: Sequence[ir.Value]) -> list[ir.Value]:
    """Append nodes that compute the gradient of a loss (reverse mode) to the model's graph.

    It is `backward` with a one for the gradient of the loss; see there.

    Args:
        model: The model, changed in place. Missing shapes are inferred.
        loss: A float32 value with one element.
        wrt: Float values of the graph: inputs, initializers or results of nodes.

    Returns:
        One value per entry of ``wrt``, of the same shape, named ``<name>_gradient``. Zeros where
        the loss does not depend on the entry. They are not yet outputs of the graph.

    Raises:
        UnsupportedOperatorError: As `backward`.
        InputShapeError: As `backward`.
    """
    path = _prepared(model, [loss], wrt)
    if any(dim != 1 for dim in dims(loss)):
        raise ValueError(f"the loss {loss.name} must have one element, not the shape {loss.shape}")
    emitter = Emitter(model.graph)
    one = emitter.array(np.ones([1] * len(dims(loss)), np.float32), "seed")
    return _walk(emitter, path, {loss: one}, wrt)


def backward(
    model: ir.Model,
    seeds: Mapping[ir.Value, ir.Value],
    wrt: Sequence[ir.Value],
    *,
    around: Collection[ir.Node] = (),
) -> list[ir.Value]:
    """Append nodes that compute a vector–Jacobian product to the model's graph.

    With y the values that ``seeds`` has gradients of, it is Σ seedᵀ·∂y/∂x for each x of ``wrt``:
    the gradient of any function of the y whose own gradient the seeds are. A seed may be computed
    from the values of the forward graph; it counts as a constant. Where one y is computed from
    another, the seed of the latter is added to what arrives from the former.

    The nodes are valid at the model's own opset (13 to 24) and hold no batch size. Initializers
    are constants: what is trained must be an input of the graph before the call, or its folded
    derivates (a flipped weight, say) keep the old value. Nodes that need no gradient (a weight
    nobody asked for) get none. The graph must be sorted topologically.

    Args:
        model: The model, changed in place. Missing shapes are inferred.
        seeds: The gradient of each value that has one of its own, of the value's shape or with
            size 1 along the axes where it is constant.
        wrt: Float values of the graph: inputs, initializers or results of nodes.
        around: Nodes that no gradient goes through, as if their outputs were constants.

    Returns:
        One value per entry of ``wrt``, of the same shape, named ``<name>_gradient``. Zeros where
        no seed reaches the entry. They are not yet outputs of the graph.

    Raises:
        UnsupportedOperatorError: An operator on the way has no rule, or is used in a form that
            the rule does not cover. Missing rules are found before anything is emitted.
        InputShapeError: A shape that the gradient must know is dynamic or unknown.
    """
    path = _prepared(model, list(seeds), wrt, around)
    _require_shapes(list(seeds.values()))
    for value, seed in seeds.items():
        if not _stretches(dims(seed), dims(value)):
            raise ValueError(
                f"the gradient {seed.name} of {value.name} has the shape {seed.shape}, which does "
                f"not broadcast to {value.shape}"
            )
    return _walk(Emitter(model.graph), path, seeds, wrt)


def refusals(
    model: ir.Model, ends: Sequence[ir.Value], wrt: Sequence[ir.Value]
) -> dict[ir.Node, str]:
    """Find the nodes between two sets of values that cannot be differentiated.

    Every rule is tried with a gradient of the right shape, so that forms that it does not cover
    are found as well as operators without a rule.

    Args:
        model: The model. It is of no use afterwards: the trials have left nodes in it.
        ends: Values that a loss is computed from.
        wrt: Values that its gradient is wanted of.

    Returns:
        Why, by node, the last node first.
    """
    _infer(model)
    nodes, values = _between(model.graph, ends, wrt)
    emitter = Emitter(model.graph)
    found = {}
    for node in nodes:
        try:
            _try(emitter, node, values)
        except (UnsupportedOperatorError, InputShapeError) as error:
            found[node] = str(error)
    return found


def _try(emitter: Emitter, node: ir.Node, values: frozenset[ir.Value]) -> None:
    """Differentiate one node with regard to those of its inputs that lie on the way."""
    inputs = [value for value in node.inputs if value is not None and value in values]
    outputs = [value if value in values else None for value in node.outputs]
    _require_shapes([*inputs, *(value for value in outputs if value is not None)])
    dys = tuple(
        y if y is None else ir.Value(name=f"{y.name}_trial", shape=y.shape, type=y.type)
        for y in outputs
    )
    call = _Call.of(node)
    vjps = call(Context(node, dys, frozenset(), emitter))
    for x, vjp in zip(node.inputs, vjps, strict=False):
        if x in values and vjp is not None:
            vjp()


def _stretches(shape: Sequence[Dim], target: Sequence[Dim]) -> bool:
    """Whether a shape broadcasts to another; a dynamic dimension is taken to fit."""
    pairs = zip(shape[::-1], target[::-1], strict=False)
    return len(shape) <= len(target) and all(
        a in (1, b) or not isinstance(a, int) or not isinstance(b, int) for a, b in pairs
    )


def _prepared(
    model: ir.Model,
    ends: Sequence[ir.Value],
    wrt: Sequence[ir.Value],
    around: Collection[ir.Node] = (),
) -> _Path:
    """Return the path from ``wrt`` to ``ends``, all its shapes known."""
    _infer(model)
    nodes, values = _between(model.graph, ends, wrt, around)
    path = _Path(tuple(_Call.of(node) for node in nodes), values)
    _require_shapes([*ends, *path.values, *wrt])
    return path


def _infer(model: ir.Model) -> None:
    """Infer shapes and types where some are missing."""
    if any(y.shape is None or y.dtype is None for node in model.graph for y in node.outputs):
        infer_shapes(model)


def _walk(
    emitter: Emitter, path: _Path, seeds: Mapping[ir.Value, ir.Value], wrt: Sequence[ir.Value]
) -> list[ir.Value]:
    """Emit the backward nodes, last node of the path first."""
    accumulator = _Accumulator(emitter, dict(seeds), {})
    for call in path.calls:
        elementwise = call.node.op_type in ELEMENTWISE
        dys = tuple(accumulator.total(y, compact=elementwise) for y in call.node.outputs)
        if all(dy is None for dy in dys):
            continue
        context = Context(call.node, dys, frozenset(wrt), emitter)
        for x, vjp in zip(call.node.inputs, call(context), strict=True):
            if x in path.values and vjp is not None:
                accumulator.add(x, vjp())
    return [
        emitter.named(accumulator.total(x) or _zeros(emitter, x), f"{x.name}_gradient") for x in wrt
    ]


@dataclass(frozen=True)
class _Path:
    """What lies between the ends and what is asked for: its nodes, last first, and its values."""

    calls: tuple[_Call, ...]
    values: frozenset[ir.Value]


def _between(
    graph: ir.Graph,
    ends: Sequence[ir.Value],
    wrt: Sequence[ir.Value],
    around: Collection[ir.Node] = (),
) -> tuple[list[ir.Node], frozenset[ir.Value]]:
    """Return the nodes between two sets of values, last first, and the values on the way."""
    dependent = set(wrt)
    order = []
    for node in graph:
        if node not in around and any(value in dependent for value in nested_inputs(node)):
            order.append(node)
            dependent.update(y for y in node.outputs if _has_gradient(node, y))
    needed = dependent.intersection(ends)
    nodes = []
    for node in reversed(order):
        if any(y in needed for y in node.outputs):
            nodes.append(node)
            needed.update(dependent.intersection(nested_inputs(node)))
    return nodes, frozenset(needed)


def _has_gradient(node: ir.Node, output: ir.Value) -> bool:
    """Whether an output may depend on a float input smoothly, or counts as if it did."""
    return output.dtype is None or output.dtype in _FLOATS or node.op_type == "QuantizeLinear"


@dataclass(frozen=True)
class _Call:
    """A node, its rule and the attributes that the rule gets."""

    node: ir.Node
    rule: Rule
    attributes: dict[str, object]

    @classmethod
    def of(cls, node: ir.Node) -> _Call:
        rule = RULES.get(node.op_type) if node.domain in {"", "ai.onnx"} else None
        if rule is None:
            raise unsupported(node, "there is no gradient rule for this operator")
        attributes = {name: attribute.value for name, attribute in node.attributes.items()}
        try:
            inspect.signature(rule).bind(None, *node.inputs, **attributes)
        except TypeError as error:
            raise unsupported(node, f"the gradient rule does not know this form: {error}") from None
        return cls(node, rule, attributes)

    def __call__(self, context: Context) -> Sequence[Vjp]:
        vjps = tuple(self.rule(context, *self.node.inputs, **self.attributes))
        return vjps[: len(self.node.inputs)]


def _require_shapes(values: Sequence[ir.Value]) -> None:
    for value in values:
        dims(value)


@dataclass(frozen=True)
class _Accumulator:
    """The gradients that have arrived at each value, in the value's shape or compact.

    A compact gradient has size 1 along axes where it is constant, as that of a mean has.
    """

    emitter: Emitter
    seeds: dict[ir.Value, ir.Value]
    parts: dict[ir.Value, list[ir.Value]]

    def add(self, value: ir.Value, part: ir.Value) -> None:
        """Add one more gradient of a value, which may have the broadcast shape."""
        self.parts.setdefault(value, []).append(self._summed(part, value))

    def total(self, value: ir.Value, *, compact: bool = False) -> ir.Value | None:
        """Return the sum of all gradients of a value, or None when there are none."""
        if value in self.seeds:
            self.add(value, self.seeds.pop(value))
        parts = self.parts.get(value)
        if parts is None:
            return None
        parts[:] = [self._added(value, parts)]
        if not compact:
            parts[:] = [self._expanded(parts[0], value)]
        return parts[0]

    def _added(self, value: ir.Value, parts: Sequence[ir.Value]) -> ir.Value:
        """Add up parts: one by one, because ONNX Runtime's Sum of three costs 2.5 times an Add.

        The seed is the last of its size: what comes out of convolutions is added inside of them.
        Compact parts come last of all, so that they are added while they are small.
        """
        full = [part for part in parts if not _repeats(dims(part), dims(value))]
        small = [part for part in parts if _repeats(dims(part), dims(value))]
        sums = [reduce(partial(self._op, "Add", value), some) for some in (full, small) if some]
        return reduce(partial(self._op, "Add", value), sums)

    def _summed(self, part: ir.Value, value: ir.Value) -> ir.Value:
        """Undo the broadcast of the value to the shape of the part."""
        target = dims(value)
        if part.shape is None:
            part.shape = ir.Shape(target)
        extra = len(part.shape) - len(target)
        aligned: tuple[Dim, ...] = (1,) * extra + target
        wide = [i for i, size in enumerate(aligned) if size == 1 and part.shape[i] != 1]
        if wide:
            shape = [1 if i in wide else dim for i, dim in enumerate(part.shape)]
            part = self._op("ReduceSum", value, part, wide, keepdims=1)
            part.shape = ir.Shape(shape)
        if extra > 0:
            shape = list(dims(part))[extra:]
            part = self._op("Squeeze", value, part, list(range(extra)))
            part.shape = ir.Shape(shape)
        return part

    def _expanded(self, part: ir.Value, value: ir.Value) -> ir.Value:
        """Repeat a compact gradient along the axes where it has size 1 and the value has not."""
        target = dims(value)
        if not _repeats(dims(part), target) and len(dims(part)) == len(target):
            return part
        sizes = [size for size in target if isinstance(size, int)]
        static = len(sizes) == len(target)
        expanded = self._op(
            "Expand", value, part, sizes if static else self._op("Shape", value, value)
        )
        expanded.shape = ir.Shape(target)
        return expanded

    def _op(self, op_type: str, value: ir.Value, *operands: Operand, **attributes: int) -> ir.Value:
        return self.emitter.op(op_type, operands, attributes, f"{value.name}_gradient")


def _repeats(shape: Sequence[Dim], target: Sequence[Dim]) -> bool:
    """Whether a shape, aligned at the end, has size 1 where the target has not."""
    aligned = (*[1] * (len(target) - len(shape)), *shape)
    return any(size == 1 and goal != 1 for size, goal in zip(aligned, target, strict=True))


def _zeros(emitter: Emitter, value: ir.Value) -> ir.Value:
    shape = emitter.op("Shape", [value], {}, f"{value.name}_gradient")
    return emitter.op("Expand", [0.0, shape], {}, f"{value.name}_gradient")
