"""One row or more per gradient rule: operator, inputs, attributes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPSET = 17


@dataclass(frozen=True)
class Case:
    """One node to differentiate.

    Attributes:
        op: Operator.
        inputs: Tuples are shapes of float inputs that get a gradient; arrays and lists (INT64)
            are constants, None is a missing input.
        attributes: Of the node.
        domain: ``smooth`` draws from a normal distribution, ``positive`` from [0.5, 2],
            ``spaced`` gives distinct values 0.1 apart, none within 0.05 of a whole number, for
            functions with kinks.
        opset: Version of the default domain.
        outputs: How many outputs the node has; all of them are used unless ``used`` says less.
        used: The outputs that the loss depends on.
        constants: Indices of float inputs that are initializers and get no gradient.
    """

    op: str
    inputs: tuple[tuple[int, ...] | list[int] | NDArray[np.generic] | None, ...]
    attributes: dict[str, object] = field(default_factory=dict)
    domain: str = "smooth"
    opset: int = OPSET
    outputs: int = 1
    used: tuple[int, ...] | None = None
    constants: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Show the case as the identity of its test."""
        shapes = ",".join(
            "x".join(map(str, i)) if isinstance(i, tuple) else "-" if i is None else "const"
            for i in self.inputs
        )
        options = ",".join(f"{k}={v}" for k, v in self.attributes.items())
        return f"{self.op}({shapes}){options}@{self.opset}".replace(" ", "")


def f32(*values: float) -> NDArray[np.float32]:
    """Return a float constant."""
    return np.asarray(values, np.float32)


def scalar(value: float) -> NDArray[np.float32]:
    """Return a float constant without dimensions."""
    return np.asarray(value, np.float32)


BROADCASTS = [
    ((2, 3, 4), (2, 3, 4)),
    ((2, 3, 4), (4,)),
    ((2, 3, 4), ()),
    ((), (2, 3)),
    ((3, 1), (2, 1, 4)),
    ((1, 1, 4), (2, 3, 1)),
    ((2, 3, 4), (1, 3, 1)),
    ((1,), (2, 3)),
    ((2, 3), (1, 1, 1, 1)),
]


def broadcasting() -> list[Case]:
    """Return every broadcasting operator with every kind of broadcast."""
    rows = []
    for a, b in BROADCASTS:
        rows += [Case(op, (a, b)) for op in ("Add", "Sub", "Mul", "Sum", "Mean")]
        rows.append(Case("Div", (a, b), domain="positive"))
        rows += [Case(op, (a, b), domain="spaced") for op in ("Max", "Min")]
        condition = np.arange(12).reshape(3, 4) % 2 == 0
        if np.broadcast_shapes(a, b)[-1:] == (4,):
            rows.append(Case("Where", (condition, a, b)))
    return rows


def unary() -> list[Case]:
    """Return the functions of one tensor."""
    shape = (2, 3, 4)
    smooth = ["Sigmoid", "Tanh", "Softplus", "Exp", "Erf", "Neg", "Identity"]
    kinked = ["Relu", "LeakyRelu", "Abs", "HardSigmoid", "HardSwish", "Elu", "Selu"]
    return [
        *(Case(op, (shape,)) for op in smooth),
        *(Case(op, (shape,), domain="spaced") for op in kinked),
        *(Case(op, (shape,), domain="positive") for op in ("Sqrt", "Log", "Reciprocal")),
        Case("LeakyRelu", (shape,), {"alpha": 0.3}, "spaced"),
        Case("LeakyRelu", (shape,), {"alpha": -0.3}, "spaced"),
        Case("HardSigmoid", (shape,), {"alpha": 0.3, "beta": 0.4}, "spaced"),
        Case("Elu", (shape,), {"alpha": 0.7}, "spaced"),
        Case("Selu", (shape,), {"alpha": 1.2, "gamma": 0.9}, "spaced"),
        Case("Gelu", (shape,), opset=20),
        Case("Gelu", (shape,), {"approximate": "tanh"}, opset=20),
        Case("Mish", (shape,), opset=18),
        Case("PRelu", (shape, (4,)), domain="spaced"),
        Case("PRelu", ((2, 3, 2, 2), (3, 1, 1)), domain="spaced"),
        Case("PRelu", (shape, shape), domain="spaced"),
        Case("Clip", (shape, scalar(-0.5), scalar(0.5)), domain="spaced"),
        Case("Clip", (shape, scalar(-0.5)), domain="spaced"),
        Case("Clip", (shape, None, scalar(0.5)), domain="spaced"),
        Case("Clip", (shape,), domain="spaced"),
        Case("Pow", (shape, scalar(2.0))),
        Case("Pow", (shape, scalar(3.0))),
        Case("Pow", (shape, f32(2, 3, 1, 0.5)), domain="positive"),
        Case("Pow", (shape, [2])),
        Case("Pow", (shape, scalar(-0.5)), domain="positive"),
        Case("Cast", (shape,), {"to": 1}),
        Case("Dropout", (shape,)),
        Case("Dropout", (shape, scalar(0.5), np.asarray(False))),
        Case("Sum", ((2, 3), (3,), (2, 1))),
        Case("Sum", ((2, 3),)),
        Case("Mean", ((2, 3), (3,), (2, 1))),
        Case("Max", ((2, 3), (3,), (2, 1)), domain="spaced"),
        Case("Min", ((2, 3),), domain="spaced"),
        Case("Softmax", (shape,)),
        Case("Softmax", (shape,), {"axis": 1}),
        Case("LogSoftmax", (shape,)),
        Case("LogSoftmax", (shape,), {"axis": 0}),
        Case("Expand", ((3, 1), [2, 3, 4])),
        Case("Expand", ((3, 4), [3, 1])),
    ]


def convolutions() -> list[Case]:
    """Return Conv and ConvTranspose in every geometry."""
    two = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    return [
        Case("Conv", ((2, 3, 6, 7), (4, 3, 3, 3), (4,))),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 3, 3)), constants=(1,)),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 1, 1), (4,))),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 1, 1)), {"strides": [2, 3]}),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 3, 3), (4,)), {"pads": [1, 1, 1, 1]}),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 3, 2)), {"pads": [1, 0, 2, 1]}),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 3, 3)), {"pads": [3, 3, 4, 3]}),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 3, 3), (4,)), two),
        Case("Conv", ((2, 3, 7, 6), (4, 3, 3, 3)), {"strides": [2, 3], "pads": [1, 1, 0, 0]}),
        Case("Conv", ((1, 2, 9, 9), (3, 2, 2, 2)), {"strides": [4, 3]}),
        Case("Conv", ((2, 3, 9, 9), (4, 3, 3, 3)), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
        Case("Conv", ((2, 3, 9, 9), (4, 3, 3, 3)), {"dilations": [2, 2], **two}),
        Case("Conv", ((2, 4, 6, 6), (6, 2, 3, 3), (6,)), {"group": 2, "pads": [1] * 4}),
        Case("Conv", ((2, 4, 6, 6), (6, 2, 3, 3)), {"group": 2, "pads": [1] * 4}, constants=(1,)),
        Case("Conv", ((2, 4, 6, 6), (6, 2, 3, 3)), {"group": 2, **two}),
        Case("Conv", ((2, 4, 6, 6), (4, 1, 3, 3), (4,)), {"group": 4, "pads": [1] * 4}),
        Case("Conv", ((2, 4, 6, 6), (4, 1, 3, 3)), {"group": 4, "pads": [1] * 4}, constants=(1,)),
        Case("Conv", ((2, 4, 6, 6), (4, 1, 3, 3)), {"group": 4, **two}),
        Case("Conv", ((2, 4, 6, 6), (8, 1, 3, 3)), {"group": 4, "pads": [1] * 4}),
        Case("Conv", ((2, 3, 8), (4, 3, 3), (4,)), {"pads": [1, 1]}),
        Case("Conv", ((2, 3, 8), (4, 3, 3)), {"strides": [2], "dilations": [2]}),
        Case("Conv", ((1, 2, 4, 4, 4), (3, 2, 2, 2, 2)), {"pads": [1] * 6}),
        Case("Conv", ((2, 3, 7, 6), (4, 3, 3, 3)), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        Case("Conv", ((2, 3, 7, 6), (4, 3, 2, 4)), {"auto_pad": "SAME_LOWER"}),
        Case("Conv", ((2, 3, 7, 6), (4, 3, 3, 3)), {"auto_pad": "VALID"}),
        Case("ConvTranspose", ((2, 3, 5, 4), (3, 4, 3, 3), (4,))),
        Case("ConvTranspose", ((2, 3, 5, 4), (3, 4, 3, 3)), {"pads": [1, 1, 1, 1]}),
        Case("ConvTranspose", ((2, 3, 5, 4), (3, 4, 2, 2), (4,)), {"strides": [2, 2]}),
        Case("ConvTranspose", ((2, 3, 5, 4), (3, 4, 3, 3)), {**two, "output_padding": [1, 0]}),
        Case(
            "ConvTranspose",
            ((1, 2, 4, 4), (2, 3, 3, 3)),
            {
                "strides": [3, 2],
                "dilations": [3, 2],
                "output_padding": [2, 1],
                "pads": [1, 0, 0, 1],
            },
        ),
        Case("ConvTranspose", ((2, 4, 5, 4), (4, 3, 3, 3), (6,)), {"group": 2, **two}),
        Case("ConvTranspose", ((2, 4, 5, 4), (4, 1, 3, 3)), {"group": 4}),
        Case("ConvTranspose", ((2, 3, 6), (3, 4, 3), (4,)), {"strides": [2], "pads": [1, 0]}),
        Case("ConvTranspose", ((1, 2, 4, 4), (2, 3, 3, 3)), {"dilations": [2, 1]}),
        Case(
            "ConvTranspose",
            ((1, 2, 4, 4), (2, 3, 3, 3)),
            {"strides": [2, 2], "output_shape": [8, 7]},
        ),
        Case(
            "ConvTranspose",
            ((1, 2, 4, 4), (2, 3, 3, 3)),
            {"strides": [2, 2], "output_shape": [8, 8], "auto_pad": "SAME_UPPER"},
        ),
        Case(
            "ConvTranspose",
            ((1, 2, 4, 4), (2, 3, 4, 3)),
            {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
        ),
    ]


def pools() -> list[Case]:
    """Return the pools in every geometry."""
    rows = [Case("GlobalAveragePool", ((2, 3, 4, 5),)), Case("GlobalAveragePool", ((2, 3, 4),))]
    rows.append(Case("GlobalMaxPool", ((2, 3, 4, 5),), domain="spaced"))
    geometries: list[tuple[tuple[int, ...], dict[str, object]]] = [
        ((2, 2, 6, 8), {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ((2, 2, 6, 9), {"kernel_shape": [2, 3], "strides": [2, 3]}),
        ((2, 2, 7, 7), {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ((2, 2, 7, 6), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
        ((2, 2, 6, 6), {"kernel_shape": [3, 3]}),
        ((2, 2, 6, 6), {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}),
        ((2, 2, 7, 6), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ((1, 2, 8, 8), {"kernel_shape": [3, 2], "strides": [3, 2], "pads": [1, 0, 0, 1]}),
        ((1, 2, 8, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        (
            (1, 2, 8, 8),
            {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
        ),
        ((1, 2, 9, 9), {"kernel_shape": [2, 2], "strides": [3, 4]}),
        ((2, 2, 8), {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
        ((2, 2, 8), {"kernel_shape": [2], "strides": [2]}),
        ((1, 2, 4, 4, 4), {"kernel_shape": [2, 2, 2], "strides": [2, 1, 2]}),
        ((1, 2, 6, 6), {"kernel_shape": [1, 3]}),
        ((1, 2, 6, 6), {"kernel_shape": [1, 1], "strides": [2, 2]}),
        ((1, 2, 6, 6), {"kernel_shape": [1, 1]}),
        ((1, 2, 6, 7), {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}),
        ((1, 2, 7, 6), {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ]
    for shape, options in geometries:
        rows.append(Case("MaxPool", (shape,), options, "spaced"))
        rows.append(Case("AveragePool", (shape,), options, opset=19))
        rows.append(Case("AveragePool", (shape,), {**options, "count_include_pad": 1}, opset=19))
    dilated = {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [2, 1, 2, 1]}
    rows.append(Case("MaxPool", ((1, 2, 8, 8),), dilated, "spaced"))
    rows.append(Case("MaxPool", ((1, 2, 8, 8),), {**dilated, "strides": [2, 1]}, "spaced"))
    rows.append(Case("MaxPool", ((1, 2, 6, 6),), {"kernel_shape": [3, 3]}, "spaced", opset=13))
    rows.append(Case("AveragePool", ((1, 2, 8, 8),), dilated, opset=19))
    rows.append(
        Case("AveragePool", ((1, 2, 6, 6),), {"kernel_shape": [3, 3], "pads": [1] * 4}, opset=13)
    )
    return rows


def resizes() -> list[Case]:
    """Return Resize in every mode."""
    rows = []
    shape = (1, 2, 4, 6)
    for transformation in ("half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners"):
        for mode in ("nearest", "linear"):
            options: dict[str, object] = {
                "mode": mode,
                "coordinate_transformation_mode": transformation,
            }
            for scales in (f32(1, 1, 2, 2), f32(1, 1, 1.5, 2.6), f32(1, 1, 0.5, 0.6)):
                rows.append(Case("Resize", (shape, None, scales), options))
            rows.append(Case("Resize", (shape, None, None, [1, 2, 7, 3]), options))
            rows.append(Case("Resize", (shape, None, None, [1, 2, 1, 6]), options))
    for nearest in ("floor", "ceil", "round_prefer_ceil"):
        for scales in (f32(1, 1, 2, 3), f32(1, 1, 1.7, 0.6)):
            rows.append(
                Case(
                    "Resize",
                    (shape, None, scales),
                    {"coordinate_transformation_mode": "asymmetric", "nearest_mode": nearest},
                )
            )
    symmetric = {"coordinate_transformation_mode": "half_pixel_symmetric", "mode": "linear"}
    return [
        *rows,
        Case("Resize", (shape, None, f32(1, 1, 1.3, 2)), symmetric, opset=19),
        Case("Resize", (shape, None, f32(2, 2.5)), {"axes": [2, 3], "mode": "linear"}, opset=18),
        Case("Resize", (shape, None, None, [9]), {"axes": [3]}, opset=18),
        Case("Resize", ((1, 2, 5), None, f32(1, 1, 2.2)), {"mode": "linear"}),
        Case("Resize", ((1, 1, 2, 3, 4), None, f32(1, 1, 2, 1, 3))),
    ]


def shapes() -> list[Case]:
    """Return the operators that move or pick elements."""
    x = (2, 3, 4, 5)
    far = np.iinfo(np.int64).max
    return [
        Case("Reshape", (x, [2, 12, 5])),
        Case("Reshape", (x, [0, -1])),
        Case("Flatten", (x,)),
        Case("Flatten", (x,), {"axis": -1}),
        Case("Transpose", (x,)),
        Case("Transpose", (x,), {"perm": [0, 2, 3, 1]}),
        Case("Squeeze", ((2, 1, 3, 1),)),
        Case("Squeeze", ((2, 1, 3, 1), [-1])),
        Case("Unsqueeze", ((2, 3), [0, -1])),
        Case("Concat", ((2, 3, 4), (2, 1, 4), (2, 2, 4)), {"axis": 1}),
        Case("Concat", ((2, 3), (2, 2)), {"axis": -1}),
        Case("Concat", ((2, 3), (2, 2)), {"axis": -1}, constants=(0,)),
        Case("Split", ((2, 6, 2),), {"axis": 1}, outputs=3),
        Case("Split", ((2, 6, 2), [1, 5]), {"axis": -2}, outputs=2),
        Case("Split", ((2, 6, 2), [1, 3, 2]), {"axis": 1}, outputs=3, used=(1,)),
        Case("Split", ((2, 7),), {"axis": 1, "num_outputs": 3}, outputs=3, opset=18),
        Case("Slice", (x, [1], [3], [2])),
        Case("Slice", (x, [1, 0], [2, far])),
        Case("Slice", (x, [0, -1], [far, -far], [1, 3], [2, -1])),
        Case("Slice", (x, [-2], [-4], [3], [-1])),
        Case("Slice", (x, [-1], [-far], [2], [-3])),
        Case("Slice", (x, [1], [100], [-1], [3])),
        Case("Gather", (x, np.asarray(2)), {"axis": 2}),
        Case("Gather", (x, [0, -1]), {"axis": 3}),
        Case("Gather", (x, [1, 1, 0, 2, 1]), {"axis": 1}),
        Case("Gather", (x, np.asarray([[0, 1], [1, 1]]))),
        Case("Gather", ((5,), np.asarray(3))),
        Case("Pad", (x, [0, 1, 2, 0, 0, 0, 1, 3])),
        Case("Pad", (x, [0, 0, -1, 2, 0, 0, 1, -2], scalar(3))),
        Case("Pad", (x, [0, 0, 3, 2, 0, 0, 1, 4]), {"mode": "reflect"}),
        Case("Pad", (x, [0, 0, 3, 2, 0, 0, 1, 6]), {"mode": "edge"}),
        Case("Pad", (x, [2, 1], scalar(0), [3]), opset=18),
        Case("Pad", (x, [2, 1, 1, 2], None, [2, 3]), {"mode": "wrap"}, opset=19),
        Case("Tile", ((2, 3), [1, 3])),
        Case("Tile", ((2, 3), [2, 2])),
        Case("DepthToSpace", ((2, 8, 2, 3),), {"blocksize": 2}),
        Case("DepthToSpace", ((2, 8, 2, 3),), {"blocksize": 2, "mode": "CRD"}),
        Case("SpaceToDepth", ((2, 2, 4, 6),), {"blocksize": 2}),
    ]


def reductions() -> list[Case]:
    """Return the reductions, with axes as attribute and as input."""
    rows = []
    x = (2, 3, 4)
    for op in ("ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceMax", "ReduceMin"):
        for options in ({}, {"keepdims": 0}):
            rows.append(Case(op, (x,), options, "spaced"))
            rows.append(Case(op, (x,), {"axes": [0, 2], **options}, "spaced"))
            rows.append(Case(op, (x,), {"axes": [-1], **options}, "spaced"))
            rows.append(Case(op, (x, [-1, 0]), options, "spaced", opset=18))
    for options in ({}, {"keepdims": 0}):
        rows.append(Case("ReduceSum", (x,), options))
        rows.append(Case("ReduceSum", (x, [0, -1]), options))
        rows.append(Case("ReduceSum", (x, [1]), options, opset=13))
        rows.append(Case("ReduceSum", (x,), {"noop_with_empty_axes": 1, **options}))
    return rows


def products() -> list[Case]:
    """Return MatMul with every broadcast and Gemm with every transposition."""
    pairs = [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 3, 4), (4, 5)),
        ((3, 4), (2, 4, 5)),
        ((1, 3, 4), (2, 4, 5)),
        ((6, 1, 3, 4), (2, 4, 5)),
        ((4,), (4,)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (2, 4, 5)),
        ((2, 3, 4), (4,)),
        ((1, 4), (2, 4, 1)),
    ]
    rows = [Case("MatMul", pair) for pair in pairs]
    for a, transposed_a in (((3, 4), 0), ((4, 3), 1)):
        for b, transposed_b in (((4, 5), 0), ((5, 4), 1)):
            options = {"transA": transposed_a, "transB": transposed_b, "alpha": 0.5, "beta": 2.0}
            rows += [Case("Gemm", (a, b, c), options) for c in ((3, 5), (5,), (3, 1), ())]
    rows.append(Case("Gemm", ((3, 4), (4, 5))))
    return rows


def normalizations() -> list[Case]:
    """Return the normalizations."""
    vector = (3,)
    return [
        Case("BatchNormalization", ((2, 3, 4, 5), *[vector] * 4), domain="positive"),
        Case(
            "BatchNormalization",
            ((2, 3, 4), *[vector] * 4),
            {"epsilon": 0.1},
            "positive",
            constants=(1, 2, 3, 4),
        ),
        Case("BatchNormalization", ((4, 3), *[vector] * 4), domain="positive", opset=14),
        Case("LayerNormalization", ((2, 3, 4), (4,), (4,))),
        Case("LayerNormalization", ((2, 3, 4), (3, 4)), {"axis": 1, "epsilon": 0.01}),
        Case("LayerNormalization", ((2, 3, 4), (4,), (4,)), opset=18),
        Case("InstanceNormalization", ((2, 3, 4, 5), vector, vector)),
        Case("InstanceNormalization", ((2, 3, 6), vector, vector), {"epsilon": 0.01}, opset=18),
    ]


CASES = [
    *broadcasting(),
    *unary(),
    *convolutions(),
    *pools(),
    *resizes(),
    *shapes(),
    *reductions(),
    *products(),
    *normalizations(),
]
