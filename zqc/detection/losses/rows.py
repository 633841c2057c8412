"""Outputs of several grids in one row, as nodes."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from zqc.autodiff.emitter import dims
from zqc.detection.losses.writing import Pen


def joined_rows(pen: Pen, outputs: Sequence[ir.Value], columns: int) -> ir.Value:
    """Outputs N × a·columns × h × w or N × A × columns as one N × A × columns.

    In the order of ``zqc.detection.conventions.grids.joined_rows``.
    """
    rows = [_in_rows(pen, each, columns) for each in outputs]
    count = dims(rows[0])[0]
    assert isinstance(count, int)  # the graph is cut out for one size
    if len(rows) == 1:
        return rows[0]
    total = sum(size for size in (dims(each)[1] for each in rows) if isinstance(size, int))
    return pen.shaped(pen("Concat", *rows, axis=1), count, total, columns)


def _in_rows(pen: Pen, output: ir.Value, columns: int) -> ir.Value:
    if len(dims(output)) == 3:
        return output
    count, channels, height, width = (size for size in dims(output) if isinstance(size, int))
    turned = pen("Transpose", output, perm=(0, 2, 3, 1))
    shape = count, channels // columns * height * width, columns
    return pen.shaped(pen("Reshape", turned, shape), *shape)
