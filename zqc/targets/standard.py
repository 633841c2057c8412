"""Targets of no runtime in particular: QuantizeLinear and DequantizeLinear as ONNX defines them."""

from __future__ import annotations

from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import (
    ExplicitZeroPoints,
    PairsBehindLayout,
    ShiftNegativeCorrection,
    SplitClips,
    WideMaxima,
)
from zqc.targets.target import Target

_LOADABLE = (
    SplitClips(),
    WideMaxima(),
    PairsBehindLayout(),
    ExplicitZeroPoints(),
    RemoveUnusedNodesPass(),
)
"""What no runtime needs but ONNX Runtime, to load it at all and to convert it."""

_COST = (
    "On plain ONNX Runtime (x86) its files take 1.6 to 2.2 times as long as the float model, at 4 "
    "bits 1.7 to 2.6 times."
)

PORTABLE = Target(
    name="portable",
    summary="standard QDQ with the INT4 of opset 21, no runtime in mind",
    guarantees=(
        "Only QuantizeLinear and DequantizeLinear are added, with scales that are powers of two.",
        "Weights and activations of 4 bits are INT4 and UINT4, which need opset 21.",
        "It is the canonical graph that all other targets are exactly equal to.",
    ),
    lowering=lambda _min_runtime: _LOADABLE,
    cost=_COST,
)

SYMMETRIC = Target(
    name="symmetric",
    summary="as portable, with every zero point 0: shifts are in biases and paddings",
    guarantees=(
        "Every zero point is 0: int8 or int4 where a tensor may be negative, else uint8 or uint4.",
        "Shifts are an addition before the pair, taken out by corrected biases and paddings.",
        "Scales are powers of two.",
    ),
    lowering=lambda _min_runtime: (ShiftNegativeCorrection(), *_LOADABLE),
    even_shifts=True,
    cost=_COST,
)
