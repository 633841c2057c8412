"""One row or more per gradient rule: operator, inputs, attributes."""

from __future__ import annotations

import numpy as np

from tests.zqc.autodiff.case import Case, f32, scalar
from tests.zqc.autodiff.spatial_cases import convolutions, pools, resizes, samplers

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
    smooth = ["Sigmoid", "Tanh", "Softplus", "Exp", "Erf", "Atan", "Neg", "Identity"]
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
        Case("Swish", (shape,), opset=24),
        Case("Swish", (shape,), {"alpha": 1.7}, opset=24),
        Case("Softsign", (shape,), domain="spaced"),
        Case("Celu", (shape,), domain="spaced"),
        Case("Celu", (shape,), {"alpha": 0.7}, "spaced"),
        Case("ThresholdedRelu", (shape,), domain="spaced"),
        Case("ThresholdedRelu", (shape,), {"alpha": -0.3}, "spaced"),
        Case("Shrink", (shape,), domain="spaced"),
        Case("Shrink", (shape,), {"lambd": 0.3, "bias": 0.2}, "spaced"),
        Case("Sign", (shape,), domain="spaced"),
        Case("CastLike", (shape, scalar(1)), opset=19),
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
        Case("Pow", (f32(2, 3, 1, 0.5), shape)),
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
        Case("Trilu", ((2, 4, 5),)),
        Case("Trilu", ((4, 5), np.asarray(-1)), {"upper": 0}),
        Case("DepthToSpace", ((2, 8, 2, 3),), {"blocksize": 2}),
        Case("DepthToSpace", ((2, 8, 2, 3),), {"blocksize": 2, "mode": "CRD"}),
        Case("SpaceToDepth", ((2, 2, 4, 6),), {"blocksize": 2}),
    ]


def scatterings() -> list[Case]:
    """Return the operators that pick and place by indices, some of them picked twice."""
    x = (2, 3, 4)
    by_element = np.asarray([[[0, 3, 1, 1], [2, -1, 0, 0], [1, 1, 1, 2]]] * 2)
    apart = np.asarray([[[0, 3], [2, -3], [1, 2]]] * 2)
    points = np.asarray([[0, 1], [1, -1], [0, 1]])
    return [
        Case("GatherElements", (x, by_element), {"axis": 2}),
        Case("GatherElements", (x, by_element % 3), {"axis": -2}, opset=18),
        Case("GatherND", (x, points)),
        Case("GatherND", (x, np.asarray([[[1], [1]]]))),
        Case("ScatterElements", (x, apart, (2, 3, 2)), {"axis": 2}),
        Case("ScatterElements", (x, apart, (2, 3, 2)), {"axis": 2, "reduction": "add"}),
        Case("ScatterND", (x, points[:2], (2, 4))),
        Case("ScatterND", (x, points, (3, 4)), {"reduction": "add"}),
        Case("TopK", (x, [2]), {}, "spaced", outputs=2, used=(0,), integers=(1,)),
        Case(
            "TopK",
            (x, [2]),
            {"axis": 1, "largest": 0},
            "spaced",
            outputs=2,
            used=(0,),
            integers=(1,),
        ),
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
    for equation, *shapes_of in (
        ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
        ("bchw,bkc->bkhw", (2, 3, 2, 4), (2, 5, 3)),
        ("...ij,...kj->...ik", (2, 3, 4), (1, 5, 4)),
        ("...ij,jk", (2, 3, 4), (4, 5)),
        ("ij,jk", (3, 4), (4, 5)),
        ("i,j->ij", (3,), (4,)),
        ("bi,bi->b", (2, 3), (2, 3)),
        ("bij->bji", (2, 3, 4)),
        ("bij->b", (2, 3, 4)),
        ("bij,bk->bk", (2, 3, 4), (2, 5)),
        ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
        ("b i j , b i j -> b i j", (2, 3, 4), (1, 3, 4)),
    ):
        rows.append(Case("Einsum", tuple(shapes_of), {"equation": equation}))
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
        Case("GroupNormalization", ((2, 6, 4, 5), (6,), (6,)), {"num_groups": 3}, opset=21),
        Case("GroupNormalization", ((2, 6, 4), (6,), (6,)), {"num_groups": 2}, opset=21),
        Case("GroupNormalization", ((2, 6, 4, 5), (3,), (3,)), {"num_groups": 3}, opset=18),
        Case("RMSNormalization", ((2, 3, 4), (4,)), opset=23),
        Case("RMSNormalization", ((2, 3, 4), (3, 4)), {"axis": 1, "epsilon": 0.01}, opset=23),
        Case("MeanVarianceNormalization", ((2, 3, 4, 5),), {"axes": [0, 2, 3]}),
        Case("MeanVarianceNormalization", ((2, 3, 4, 5),), {"axes": [2, 3]}),
        Case("LpNormalization", ((2, 3, 4),)),
        Case("LpNormalization", ((2, 3, 4),), {"axis": 1}),
        Case("LpNormalization", ((2, 3, 4),), {"axis": 1, "p": 1}, "spaced"),
        Case("LRN", ((2, 6, 3, 4),), {"size": 3, "alpha": 0.3}),
        Case("LRN", ((2, 6, 3, 4),), {"size": 5, "alpha": 0.5, "beta": 0.6, "bias": 2.0}),
    ]


CASES = [
    *broadcasting(),
    *unary(),
    *convolutions(),
    *pools(),
    *resizes(),
    *shapes(),
    *scatterings(),
    *samplers(),
    *reductions(),
    *products(),
    *normalizations(),
]
