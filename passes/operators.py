"""Every fact about ONNX operators that more than one module needs: sets of operator types.

A set says what holds of an operator, not who asks. A new operator gets its facts here and nowhere
else; ``tests/passes/test_operators.py`` checks them against onnx's schemas and reference evaluator.
"""

from __future__ import annotations

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that multiply by a matrix."""

RESHAPING = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
"""The same values in the same order, in another shape."""

LAYOUT = RESHAPING | {"Identity", "Slice", "Split", "Transpose"}
"""Operators that move values or leave some out."""

SELECTING = LAYOUT | {"DepthToSpace", "Expand", "Gather", "SpaceToDepth", "Tile"}
"""Operators that move, repeat and leave out values, but compare and compute none."""

PICKING = frozenset({"Compress", "NonMaxSuppression", "NonZero", "TopK", "Unique"})
"""Operators that pick elements, or order them, by what their values are."""

SAME_GRID = SELECTING | {"MaxPool", "ReduceMax", "ReduceMin", "Resize"}
"""Operators that give back values of their input: with one grid before and after they can run on
the integers. A linear Resize stays between its input's extremes, a cubic one does not."""

PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})

SEQUENCES = frozenset(
    {
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceMap",
        "SplitToSequence",
    }
)
"""Operators that make a sequence of tensors."""

SQUASHING = frozenset({"Sigmoid", "Softmax"})
"""Operators that turn logits into scores."""

UP_TO_ONE = SQUASHING | {"HardSigmoid"}
"""Operators whose values lie between 0 and 1."""

ACTIVATIONS = frozenset(
    {
        "Celu",
        "Elu",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mish",
        "PRelu",
        "Selu",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "Swish",
        "Tanh",
    }
)
"""Activation functions with quantized tensors on both sides."""

POINTWISE = ACTIVATIONS | {"Clip", "Relu"}
"""Functions of one value; their further inputs are parameters."""

SLIGHTLY_NEGATIVE = frozenset(
    {"Celu", "Elu", "Gelu", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Selu", "Swish"}
)
"""Activation functions that, with SiLU, leave a small part below zero."""

NOT_HOMOGENEOUS = (SLIGHTLY_NEGATIVE - {"LeakyRelu", "PRelu"}) | {"Softplus"}
"""f(s·x) ≠ s·f(x), and f has no upper bound: a factor can only begin behind them."""

HOMOGENEOUS = frozenset(
    {
        "Abs",
        "AveragePool",
        "Dropout",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "LeakyRelu",
        "MaxPool",
        "Relu",
    }
)
"""f(s·x) = s·f(x) for every s > 0, each channel from itself alone, whatever the attributes."""

NONNEGATIVE = UP_TO_ONE | {"Abs", "Exp", "Relu", "Softplus", "Sqrt"}
"""Operators whose values are never below zero."""

KEEPS_SIGN = SAME_GRID | {
    "Add",
    "AveragePool",
    "Concat",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Mul",
    "ReduceMean",
    "ReduceSum",
    "Sum",
}
"""Operators that give nothing below zero where nothing below zero goes in."""

KEEPS_MEANS = frozenset(
    {
        "AveragePool",
        "Concat",
        "Dropout",
        "Flatten",
        "GlobalAveragePool",
        "Identity",
        "Reshape",
        "Resize",
        "Slice",
        "Split",
    }
)
"""Operators that move channels, select values of one channel or average them."""

WITHOUT_INTEGER_KERNELS = frozenset(
    {
        "Cos",
        "Div",
        "Erf",
        "Exp",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "Log",
        "LpNormalization",
        "Neg",
        "Pow",
        "RMSNormalization",
        "Reciprocal",
        "ReduceL2",
        "ReduceMean",
        "ReduceSumSquare",
        "Sin",
        "Sqrt",
        "Sub",
    }
)
"""Parts of functions and normalisations that no runtime has integer kernels for."""
