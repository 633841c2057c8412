"""Qualcomm's NPU (HTP) through ONNX Runtime's QNN execution provider.

- Shapes are fixed, activations typically uint8 or uint16, and MatMul takes uint8 by uint8:
  https://onnxruntime.ai/docs/execution-providers/QNN-ExecutionProvider.html.
- Weights have a scale per channel for Conv and ConvTranspose only:
  https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/python/tools/quantization/execution_providers/qnn/quant_config.py.
- An operator is known by the pairs around it, so that each has pairs on all sides: a Clip of
  integers would be none.
"""

from __future__ import annotations

from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import (
    ExplicitZeroPoints,
    FixedBatch,
    IntegerClips,
    ScalarScales,
    UnsignedActivations,
    UnsignedMatrices,
)
from zqc.targets.target import Target

QNN = Target(
    name="qnn",
    summary="Qualcomm NPUs by ONNX Runtime's QNN provider: uint8, pairs around every operator",
    guarantees=(
        "Every activation is uint8, with zero point 128 where it may be negative.",
        "Every operator before the post-processing reads DequantizeLinear or constants and is read "
        "by QuantizeLinear; a ReLU that its grid makes superfluous is left out.",
        "Weights are symmetric, INT8 or INT4: with a scale per channel in Conv and ConvTranspose, "
        "with one scale in Gemm and MatMul, whose matrix is uint8 with zero point 128.",
        "The batch is 1 where the float model leaves it open.",
        "Activations have 8 bits; zqc writes no 16-bit ones.",
    ),
    lowering=lambda _min_runtime: (
        UnsignedActivations(),
        IntegerClips(keep_clips=True),
        ScalarScales(),
        UnsignedMatrices(),
        FixedBatch(),
        ExplicitZeroPoints(),
        RemoveUnusedNodesPass(),
    ),
    per_tensor=frozenset({"Gemm", "MatMul"}),
    act_bits=(8,),
    cost="On plain ONNX Runtime (x86) 8-bit files are 1.8 times as fast as the float model, "
    "4-bit ones take 1.6 times as long.",
)
