"""Boxes as offsets from anchors, and back, as nodes."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from zqc.detection.losses.candidates import Places
from zqc.detection.losses.writing import Pen

_TINY = 1e-3
"""Of a side in pixels whose logarithm is taken."""


@dataclass(frozen=True)
class Coder:
    """Offsets (tx, ty, tw, th): (x − x_a)/w_a · place, log(w/w_a) · size, and the same for y.

    Ren et al., Faster R-CNN, section 3.1.2, with the factors of the published codes, the inverse of
    SSD's variances.

    Attributes:
        place: Factor of the centre.
        size: Factor of the logarithm.
        largest: No box is decoded to more than e to this times its anchor.
        x_first: Whether they are written as here; else y is before x.
    """

    place: float = 1.0
    size: float = 1.0
    largest: float = 20.0
    x_first: bool = True

    def boxes(self, pen: Pen, codes: ir.Value, places: Places) -> ir.Value:
        """Decode offsets (N, A, 4) to (x1, y1, x2, y2) in pixels."""
        middle, anchors = _anchors(pen, places)
        if not self.x_first:
            codes = pen("Gather", codes, [1, 0, 3, 2], axis=-1)
        shift, growth = pen.part(codes, 0, 2), pen.part(codes, 2, 4)
        centre = pen("Add", pen("Mul", _by(pen, shift, 1 / self.place), anchors), middle)
        growth = pen("Min", _by(pen, growth, 1 / self.size), self.largest)
        size = pen("Mul", pen("Exp", growth), anchors)
        return pen.corners(pen("Concat", centre, size, axis=-1))

    def offsets(self, pen: Pen, boxes: ir.Value, places: Places) -> ir.Value:
        """Encode (x1, y1, x2, y2) in pixels, (N, A, 4), to offsets with x first."""
        middle, anchors = _anchors(pen, places)
        low, high = pen.part(boxes, 0, 2), pen.part(boxes, 2, 4)
        centre = pen("Mul", pen("Add", low, high), 0.5)
        shift = pen("Div", pen("Sub", centre, middle), anchors)
        size = pen("Max", pen("Sub", high, low), _TINY)
        growth = pen("Log", pen("Div", size, anchors))
        parts = (_by(pen, shift, self.place), _by(pen, growth, self.size))
        return pen("Concat", *parts, axis=-1)


def _anchors(pen: Pen, places: Places) -> tuple[ir.Value, ir.Value]:
    assert places.anchors is not None  # what has offsets has anchors
    return pen.array(places.points), pen.array(places.anchors)


def _by(pen: Pen, value: ir.Value, factor: float) -> ir.Value:
    return value if factor == 1 else pen("Mul", value, factor)
