"""Runs an ONNX graph with PyTorch, operator by operator, so that autograd can differentiate it.

It knows the operators of the example detector and of the detectors that zqc was tried on, in the
forms that occur there. It is for comparisons: an operator or attribute that it does not know is an
error.
"""
# ruff: noqa: ARG001 - a function's signature is the schema of its operator

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    import onnx_ir as ir
    from torch import Tensor

CONVOLUTIONS = {1: (F.conv1d, F.conv_transpose1d), 2: (F.conv2d, F.conv_transpose2d)}


class TorchTwin:
    """The graph of an ONNX model on PyTorch tensors.

    Args:
        model: The model.
        dtype: Of the numbers.
        detached: Names of nodes that no gradient goes through.
    """

    def __init__(
        self,
        model: ir.Model,
        dtype: torch.dtype = torch.float32,
        detached: Collection[str] = (),
    ) -> None:
        self._detached = [node.name in detached for node in model.graph]
        self._nodes = list(model.graph)
        self._attributes = [
            {name: attribute.value for name, attribute in node.attributes.items()}
            for node in self._nodes
        ]
        last_use: dict[str, int] = {}
        for index, (node, attributes) in enumerate(zip(self._nodes, self._attributes, strict=True)):
            if node.op_type not in OPERATORS:
                raise NotImplementedError(f"{node.op_type} in PyTorch")
            if node.op_type == "Split":
                attributes.setdefault("num_outputs", len(node.outputs))
            last_use |= {value.name: index for value in node.inputs if value is not None}
        self._done: list[list[str]] = [[] for _ in self._nodes]
        for name, index in last_use.items():
            self._done[index].append(name)
        self._constants = {
            name: _in_type(torch.tensor(value.const_value.numpy()), dtype)
            for name, value in model.graph.initializers.items()
        }

    def __call__(
        self, feeds: Mapping[str, Tensor], keep: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Return values of the graph by their names: all of them, or those that are to be kept.

        What is not kept is let go as soon as nothing in the graph needs it any more, as the local
        variables of a PyTorch module are.
        """
        values: dict[str, Any] = {**self._constants, **feeds}
        steps = zip(self._nodes, self._attributes, self._done, self._detached, strict=True)
        for node, attributes, done, detached in steps:
            inputs = [None if value is None else values[value.name] for value in node.inputs]
            results = OPERATORS[node.op_type](*inputs, **attributes)
            if not isinstance(results, tuple):
                results = (results,)
            for output, result in zip(node.outputs, results, strict=True):
                values[output.name] = result.detach() if detached else result
            if keep is not None:
                for name in done:
                    if name not in keep:
                        del values[name]
        return values if keep is None else {name: values[name] for name in keep}


def _in_type(constant: Tensor, dtype: torch.dtype) -> Tensor:
    return constant.to(dtype) if constant.is_floating_point() else constant


def _conv(x, w, b=None, *, dilations=1, group=1, kernel_shape=(), pads=(), strides=1):
    x, pads = _padded(x, pads)
    run = CONVOLUTIONS[w.ndim - 2][0]
    return run(x, w, b, stride=strides, padding=pads, dilation=dilations, groups=group)


def _conv_transpose(x, w, b=None, *, dilations=1, group=1, kernel_shape=(), pads=(), strides=1):
    before, after = _halves(pads)
    if before != after:
        raise NotImplementedError(f"ConvTranspose with pads {pads}")
    run = CONVOLUTIONS[w.ndim - 2][1]
    return run(x, w, b, stride=strides, padding=before or 0, groups=group, dilation=dilations)


def _max_pool(x, *, kernel_shape, pads=(), strides=1, ceil_mode=0, dilations=1):
    x, pads = _padded(x, pads, fill=-torch.inf)
    return F.max_pool2d(x, kernel_shape, strides, pads, dilations, ceil_mode=bool(ceil_mode))


def _resize(
    x,
    roi=None,
    scales=None,
    sizes=None,
    *,
    coordinate_transformation_mode="half_pixel",
    cubic_coeff_a=-0.75,
    mode="nearest",
    nearest_mode="round_prefer_floor",
):
    size = sizes.tolist() if sizes is not None else (torch.tensor(x.shape) * scales).int().tolist()
    known = {("nearest", "asymmetric", "floor"): "nearest"}
    if mode == "linear" and coordinate_transformation_mode in {"half_pixel", "pytorch_half_pixel"}:
        return F.interpolate(x, size[2:], mode="bilinear")
    how = (mode, coordinate_transformation_mode, nearest_mode)
    whole = all(new % old == 0 for new, old in zip(size, x.shape, strict=True))
    if how not in known and not (mode == "nearest" and whole):
        raise NotImplementedError(f"Resize with {how}")
    return F.interpolate(x, size[2:], mode="nearest")


def _reshape(x, shape, *, allowzero=0):
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape.tolist())])


def _split(x, sizes=None, *, axis=0, num_outputs):
    if sizes is None:
        return x.chunk(num_outputs, axis)
    return x.split(sizes.tolist(), axis)


def _slice(x, starts, ends, axes=None, steps=None):
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        axis = i if axes is None else int(axes[i])
        step = 1 if steps is None else int(steps[i])
        index = torch.arange(x.shape[axis])[slice(start, end, step)]
        x = x.index_select(axis, index)
    return x


def _unsqueeze(x, axes):
    for axis in sorted(axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def _batch_norm(x, scale, bias, mean, variance, *, epsilon=1e-5, momentum=0.9):
    return F.batch_norm(x, mean, variance, scale, bias, training=False, eps=epsilon)


def _hard_sigmoid(x, *, alpha=0.2, beta=0.5):
    return (alpha * x + beta).clamp(0, 1)


def _swish(x, *, alpha=1.0):
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


class _Straight(torch.autograd.Function):
    """Rounds; the gradient goes straight through."""

    @staticmethod
    def forward(_, x):
        return torch.round(x)

    @staticmethod
    def backward(_, slope):
        return slope


def _reduce_mean(x, axes=None, *, keepdims=1):
    if axes is not None or keepdims:
        raise NotImplementedError("ReduceMean over some axes")
    return x.mean()


def _reduce_sum(x, axes=None, *, keepdims=1):
    over = range(x.ndim) if axes is None else axes.tolist()
    return x.sum(tuple(over), keepdim=bool(keepdims))


def _reduce_max(x, axes=None, *, keepdims=1):
    given = axes.tolist() if hasattr(axes, "tolist") else axes
    return x.amax(tuple(range(x.ndim) if given is None else given), keepdim=bool(keepdims))


def _cast(x, *, to):
    return x.to({1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool}[to])


def _halves(pads):
    half = len(pads) // 2
    return tuple(pads[:half]), tuple(pads[half:])


def _padded(x, pads, fill=0.0):
    """Return the tensor, padded if its padding is asymmetric, and the padding that is left."""
    before, after = _halves(pads)
    if before == after:
        return x, before or 0
    widths = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
    return F.pad(x, widths, value=fill), 0


OPERATORS: dict[str, Callable[..., Any]] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "Atan": torch.atan,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": torch.clamp,
    "Concat": lambda *xs, axis: torch.cat(xs, axis),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": torch.div,
    "Equal": torch.eq,
    "Exp": torch.exp,
    "Flatten": lambda x, *, axis=1: x.flatten(axis) if axis == 1 else x.flatten(0, axis - 1),
    "Gather": lambda x, index, *, axis=0: x.index_select(axis, index.reshape(-1)).reshape(
        [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]]
    ),
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "Greater": torch.gt,
    "HardSigmoid": _hard_sigmoid,
    "Identity": lambda x: x,
    "LeakyRelu": lambda x, *, alpha=0.01: F.leaky_relu(x, alpha),
    "Less": torch.lt,
    "LogSoftmax": lambda x, *, axis=-1: x.log_softmax(axis),
    "MatMul": torch.matmul,
    "Max": torch.maximum,
    "MaxPool": _max_pool,
    "Min": torch.minimum,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "ReduceMax": _reduce_max,
    "ReduceMean": _reduce_mean,
    "ReduceSum": _reduce_sum,
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Resize": _resize,
    "Round": _Straight.apply,
    "Shape": lambda x: torch.tensor(x.shape),
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Softmax": lambda x, *, axis=-1: x.softmax(axis),
    "Softplus": F.softplus,
    "Split": _split,
    "Sub": torch.sub,
    "Swish": _swish,
    "Transpose": lambda x, *, perm: x.permute(*perm),
    "Unsqueeze": _unsqueeze,
}
