"""The complete and the generalized IoU of boxes, as nodes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from zqc.autodiff.emitter import Emitter
from zqc.detection.losses.writing import Pen

_TINY = 1e-7


def complete_iou(
    emitter: Emitter, one: ir.Value, other: ir.Value
) -> tuple[ir.Value, list[ir.Node]]:
    """IoU less penalties for distant centres and for different proportions, (…, 1).

    With ρ the distance of the centres and c the diagonal of the hull of both (Zheng et al.,
    Distance-IoU Loss, AAAI 2020, section 4),

        CIoU = IoU − ρ²/c² − αv,  v = 4/π² (arctan w'/h' − arctan w/h)²,  α = v / (1 − IoU + v).

    Args:
        emitter: Appends to the graph.
        one: (x1, y1, x2, y2), (…, 4).
        other: The same.

    Returns:
        It, and the node that computes α, which no gradient goes through: give it to
        ``autodiff.backward`` as ``around``.
    """
    pen = Pen(emitter, "complete_iou")
    both = _Pair.of(pen, one, other)
    distance = pen("Mul", _squared(pen, both.apart), 0.25)
    far = pen("Div", distance, pen("Add", _squared(pen, both.hull), _TINY))
    size1, size2 = both.sizes
    turn = pen("Sub", _angle(pen, size2), _angle(pen, size1))
    aspect = pen("Mul", pen("Mul", turn, turn), 4 / math.pi**2)
    rest = pen("Add", pen("Sub", aspect, both.iou), 1 + _TINY)
    weight = pen("Div", aspect, rest)
    node = weight.producer()
    assert node is not None  # boxes are no constants
    plain = pen("Sub", both.iou, far)
    return pen("Sub", plain, pen("Mul", weight, aspect)), [node]


def generalized_iou(emitter: Emitter, one: ir.Value, other: ir.Value) -> ir.Value:
    """IoU less the share of the hull of both that neither fills, (…, 1).

    Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, algorithm 1.

    Args:
        emitter: Appends to the graph.
        one: (x1, y1, x2, y2), (…, 4).
        other: The same.
    """
    pen = Pen(emitter, "generalized_iou")
    both = _Pair.of(pen, one, other)
    hull = pen.product(both.hull)
    empty = pen("Div", pen("Sub", hull, both.union), pen("Add", hull, _TINY))
    return pen("Sub", both.iou, empty)


@dataclass(frozen=True)
class _Pair:
    """Two boxes.

    Attributes:
        sizes: Width and height of each, (…, 2).
        iou: Their IoU, (…, 1).
        union: The area that both fill, (…, 1).
        hull: Width and height of what contains both, (…, 2).
        apart: From one centre to the other, twice, (…, 2).
    """

    sizes: tuple[ir.Value, ir.Value]
    iou: ir.Value
    union: ir.Value
    hull: ir.Value
    apart: ir.Value

    @classmethod
    def of(cls, pen: Pen, one: ir.Value, other: ir.Value) -> _Pair:
        """Append what is not used as well; it is removed with all that nothing reads."""
        (low1, high1), (low2, high2) = (
            (pen.part(box, 0, 2), pen.part(box, 2, 4)) for box in (one, other)
        )
        size1, size2 = pen("Sub", high1, low1), pen("Sub", high2, low2)
        inner = pen("Sub", pen("Min", high1, high2), pen("Max", low1, low2))
        shared = pen.product(pen("Relu", inner))
        union = pen("Sub", pen("Add", pen.product(size1), pen.product(size2)), shared)
        iou = pen("Div", shared, pen("Add", union, _TINY))
        hull = pen("Sub", pen("Max", high1, high2), pen("Min", low1, low2))
        apart = pen("Sub", pen("Add", low1, high1), pen("Add", low2, high2))
        return cls((size1, size2), iou, union, hull, apart)


def _squared(pen: Pen, value: ir.Value) -> ir.Value:
    """x² + y²."""
    return pen.sum(pen("Mul", value, value), [-1], keep=True)


def _angle(pen: Pen, size: ir.Value) -> ir.Value:
    """The arctangent of width over height."""
    height = pen("Add", pen.part(size, 1, 2), _TINY)
    return pen("Atan", pen("Div", pen.part(size, 0, 1), height))
