"""The table of gradient rules, one per operator of the default domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from zqc.autodiff.context import Vjp
from zqc.autodiff.rules import (
    activations,
    arithmetic,
    convolution,
    indexing,
    matmul,
    normalization,
    pooling,
    reduction,
    resize,
    shape,
)

# Called as rule(context, *inputs, **attributes), after the operator's ONNX schema.
Rule: TypeAlias = Callable[..., Sequence[Vjp]]

# These only use elementwise operators, so they take a gradient in compact form as it is.
ELEMENTWISE: Final[dict[str, Rule]] = {
    "Abs": arithmetic.absolute,
    "Add": arithmetic.add,
    "Cast": arithmetic.cast,
    "Clip": activations.clip,
    "Div": arithmetic.div,
    "Dropout": arithmetic.dropout,
    "Elu": activations.elu,
    "Erf": arithmetic.erf,
    "Exp": arithmetic.exp,
    "Expand": arithmetic.expand,
    "Gelu": activations.gelu,
    "HardSigmoid": activations.hard_sigmoid,
    "HardSwish": activations.hard_swish,
    "Identity": arithmetic.identity,
    "LeakyRelu": activations.leaky_relu,
    "Log": arithmetic.log,
    "Max": arithmetic.extremum,
    "Mean": arithmetic.mean,
    "Min": arithmetic.extremum,
    "Mish": activations.mish,
    "Mul": arithmetic.mul,
    "Neg": arithmetic.neg,
    "PRelu": activations.prelu,
    "Pow": arithmetic.power,
    "Reciprocal": arithmetic.reciprocal,
    "Relu": activations.relu,
    "Selu": activations.selu,
    "Sigmoid": activations.sigmoid,
    "Softplus": activations.softplus,
    "Sqrt": arithmetic.sqrt,
    "Sub": arithmetic.sub,
    "Sum": arithmetic.total,
    "Tanh": activations.tanh,
    "Where": arithmetic.where,
}

RULES: Final[dict[str, Rule]] = {
    **ELEMENTWISE,
    "AveragePool": pooling.average_pool,
    "BatchNormalization": normalization.batch_normalization,
    "Concat": indexing.concat,
    "Conv": convolution.conv,
    "ConvTranspose": convolution.conv_transpose,
    "DepthToSpace": shape.depth_to_space,
    "Flatten": shape.flatten,
    "Gather": indexing.gather,
    "Gemm": matmul.gemm,
    "GlobalAveragePool": reduction.global_average_pool,
    "GlobalMaxPool": reduction.global_max_pool,
    "InstanceNormalization": normalization.instance_normalization,
    "LayerNormalization": normalization.layer_normalization,
    "LogSoftmax": activations.log_softmax,
    "MatMul": matmul.matmul,
    "MaxPool": pooling.max_pool,
    "Pad": indexing.pad,
    "ReduceL1": reduction.reduce_l1,
    "ReduceL2": reduction.reduce_l2,
    "ReduceMax": reduction.reduce_extremum,
    "ReduceMean": reduction.reduce_mean,
    "ReduceMin": reduction.reduce_extremum,
    "ReduceSum": reduction.reduce_sum,
    "ReduceSumSquare": reduction.reduce_sum_square,
    "Reshape": shape.reshape,
    "Resize": resize.resize,
    "Slice": indexing.slice_,
    "Softmax": activations.softmax,
    "SpaceToDepth": shape.space_to_depth,
    "Split": indexing.split,
    "Squeeze": shape.squeeze,
    "Tile": indexing.tile,
    "Transpose": shape.transpose,
    "Unsqueeze": shape.squeeze,
}
