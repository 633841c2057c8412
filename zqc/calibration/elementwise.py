"""Activation functions on arrays of values per channel, as their ONNX operators define them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from passes.canonicalize.affine import from_arithmetic
from passes.graph import constant, float_attribute, is_silu, scalar
from passes.operators import SLIGHTLY_NEGATIVE
from zqc.calibration.channel_moments import Floats

Function = Callable[[Floats], Floats]
"""From values of shape (C, K) to values of the same shape, each channel by itself."""


def function_of(node: ir.Node) -> Function | None:
    """Return what a node with one computed input does to single values; None if it mixes them.

    Known are Relu, LeakyRelu, PRelu (one slope per channel), Clip, Elu, Softplus, Sigmoid, Tanh,
    Erf, HardSigmoid, HardSwish, Gelu, Mish, Neg, Abs, and Add, Sub, Mul, Div with constants that
    vary by channel at most.
    """
    if node.domain != "":
        return None
    affine = from_arithmetic(node)
    if affine is not None:
        factor, shift = affine.factor[:, None], affine.shift[:, None]
        return lambda x: factor * x + shift
    if node.op_type in _PLAIN:
        return _PLAIN[node.op_type]
    build = _WITH_PARAMETERS.get(node.op_type)
    return None if build is None else build(node)


def activation_behind(value: ir.Value) -> tuple[Function, ir.Value] | None:
    """What the activation function makes of a tensor that nothing else reads, and its output.

    Only of those that leave a small part below zero: LeakyReLU, hard-swish, SiLU and the like, the
    last also as x·Sigmoid(x). None for others, and where something else reads the tensor.
    """
    readers = list(dict.fromkeys(use.node for use in value.uses()))
    if value.is_graph_output() or not readers:
        return None
    *others, first = sorted(readers, key=is_silu, reverse=True)
    if first.op_type == "Sigmoid" and len(others) == 1 and is_silu(others[0]):
        return lambda x: x * _sigmoid(x), others[0].outputs[0]
    function = function_of(first) if not others and first.op_type in SLIGHTLY_NEGATIVE else None
    return None if function is None else (function, first.outputs[0])


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(x / 2))


def _softplus(x: Floats) -> Floats:
    return np.logaddexp(0, x)


def _erf(x: Floats) -> Floats:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


def _hard_sigmoid(x: Floats, alpha: float, beta: float) -> Floats:
    return np.clip(alpha * x + beta, 0, 1)


_PLAIN: dict[str, Function] = {
    "Abs": np.abs,
    "Erf": _erf,
    "HardSwish": lambda x: x * _hard_sigmoid(x, 1 / 6, 0.5),
    "Mish": lambda x: x * np.tanh(_softplus(x)),
    "Neg": np.negative,
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": _sigmoid,
    "Softplus": _softplus,
    "Tanh": np.tanh,
}


def _leaky_relu(node: ir.Node) -> Function:
    slope = float_attribute(node, "alpha", 0.01)
    return lambda x: np.where(x < 0, slope * x, x)


def _prelu(node: ir.Node) -> Function | None:
    slopes = constant(node.inputs[1])
    # A slope per channel is (C, 1, 1), all the same is (1,): anything else varies in space.
    if slopes is None or (slopes.size > 1 and (slopes.ndim < 3 or slopes.shape[-3] != slopes.size)):
        return None
    column = slopes.reshape(-1, 1).astype(np.float64)
    return lambda x: np.where(x < 0, column * x, x)


def _clip(node: ir.Node) -> Function | None:
    low, high = -math.inf, math.inf
    bounds = [*node.inputs[1:], None, None][:2]
    numbers = [scalar(bound) for bound in bounds]
    if any(v is not None and n is None for v, n in zip(bounds, numbers, strict=True)):
        return None
    low, high = (d if n is None else n for n, d in zip(numbers, (low, high), strict=True))
    return lambda x: np.clip(x, low, high)


def _elu(node: ir.Node) -> Function:
    alpha = float_attribute(node, "alpha", 1.0)
    return lambda x: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _hard_sigmoid_of(node: ir.Node) -> Function:
    alpha, beta = float_attribute(node, "alpha", 0.2), float_attribute(node, "beta", 0.5)
    return lambda x: _hard_sigmoid(x, alpha, beta)


def _gelu(node: ir.Node) -> Function:
    attribute = node.attributes.get("approximate")
    if attribute is not None and attribute.as_string() == "tanh":
        return lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return lambda x: 0.5 * x * (1 + _erf(x / np.sqrt(2)))


_WITH_PARAMETERS: dict[str, Callable[[ir.Node], Function | None]] = {
    "Clip": _clip,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid_of,
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
}
