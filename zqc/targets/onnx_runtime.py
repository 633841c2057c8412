"""ONNX Runtime on CPUs, which fuses QuantizeLinear and DequantizeLinear with what they surround.

What fuses is found in its selectors, and measured by loading every file that is written:
https://github.com/microsoft/onnxruntime/tree/main/onnxruntime/core/optimizer/qdq_transformer and
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import (
    BoundedExpectations,
    CodedWeights,
    ColumnBlocks,
    DerivedBiasScales,
    EarlyMaxPools,
    ExplicitZeroPoints,
    FloatBarriers,
    Int4WeightsByCast,
    IntegerClips,
    IntegerDepthToSpace,
    IntegerHardActivations,
    IntegerResizes,
    PackedScales,
    PackedWeights,
    PairsBehindLayout,
    ShortNames,
    SignedActivations,
    UnsignedActivations,
)
from zqc.runtime import versions
from zqc.targets.target import ACT_BITS, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

_PACKED = (2, 3, 5, 6)
"""Seven bits would save an eighth of the file, and cost seven times as much to unpack as one."""


def _lowering(
    min_runtime: str | None,
    activations: ir.passes.InPlacePass,
    *kernels: ir.passes.InPlacePass,
) -> Sequence[ir.passes.InPlacePass]:
    """The passes, with those for the kernels of one kind of CPU in their place."""
    has_int4 = versions.casts_int4(min_runtime)
    return (
        activations,
        IntegerClips(),
        EarlyMaxPools(),
        IntegerHardActivations(),
        IntegerDepthToSpace(),
        IntegerResizes(),
        BoundedExpectations(),
        *kernels,
        FloatBarriers(),
        CodedWeights(),
        PackedWeights(_PACKED if has_int4 else (*_PACKED, 4)),
        Int4WeightsByCast(),
        ExplicitZeroPoints(folded=True),
        DerivedBiasScales(),
        PackedScales(),
        ShortNames(),
        RemoveUnusedNodesPass(),
    )


ORT_X86 = Target(
    name="ort-x86",
    summary="ONNX Runtime on x86 CPUs: uint8 activations",
    guarantees=(
        "Every activation is uint8, with zero point 128 where it may be negative.",
        "Weights of 2 to 6 bits occupy no more, and are int8 once ONNX Runtime has loaded the "
        "file.",
        "Weights of 3 and 4 bits on levels that are closer near zero are integers of 7 bits then, "
        "which no kernel saturates with.",
        "Activations of fewer bits are a Clip of 8-bit integers, which runs on the 8-bit kernels.",
        "Every zero point is written, so that the file converts to ORT format, with saved "
        "optimizations or without.",
        "The file is loaded after it is written; the layers on integer kernels are counted.",
    ),
    lowering=lambda min_runtime: _lowering(min_runtime, UnsignedActivations(), ColumnBlocks()),
    packed=_PACKED,
    act_bits=ACT_BITS,
    kernels="here",
    cost="Its files are 1.6 to 2.8 times as fast as the float model on an x86 CPU with VNNI.",
)
"""The default. Signed activations fuse on x86 only where one operator reads them, so there are
none: https://github.com/microsoft/onnxruntime/issues/21398."""

ORT_ARM = Target(
    name="ort-arm",
    summary="ONNX Runtime on ARM CPUs: int8 activations",
    guarantees=(
        "Every activation is int8, with zero point -128 where it cannot be negative: the same "
        "values as on x86.",
        "Weights of 2 to 6 bits occupy no more, and are int8 once ONNX Runtime has loaded the "
        "file.",
        "Weights of 3 and 4 bits on levels that are closer near zero are integers of 7 bits then, "
        "which no kernel saturates with.",
        "Activations of fewer bits are a Clip of 8-bit integers, which runs on the 8-bit kernels.",
        "Every zero point is written, so that the file converts to ORT format, with saved "
        "optimizations or without.",
        "The layers on integer kernels are counted by the rules that ONNX Runtime has for ARM; "
        "latencies are not measured, since its int8 kernels on x86 are others.",
    ),
    lowering=lambda min_runtime: (
        PairsBehindLayout(every=True),
        *_lowering(min_runtime, SignedActivations()),
    ),
    packed=_PACKED,
    act_bits=ACT_BITS,
    kernels="arm",
)
"""On ARM the rules for int8 are those that ``session.qdqisint8allowed`` asks for on x86:
https://github.com/microsoft/onnxruntime/blob/main/include/onnxruntime/core/session/onnxruntime_session_options_config_keys.h.
"""
