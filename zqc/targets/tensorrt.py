"""NVIDIA TensorRT, from 10 on, with explicit quantization.

- "The quantization scheme is symmetric": INT8 with zero point 0. The parser refuses other zero
  points, and reads a UINT8 zero point as INT8 with no more than a warning, which makes other
  numbers of it: https://github.com/onnx/onnx-tensorrt/blob/main/onnxOpImporters.cpp.
- What weighted operators read is quantized, and the shortcuts of residual blocks; what they put out
  is not, nor are biases, which QuantizeLinear of INT32 would be needed for:
  https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/quantized-types-explicit-quantization.html.
- INT4 is for the weights of matrix products alone, in blocks, and the arithmetic stays in float
  ("weight-only quantization", same page). So weights of 2 to 4 bits are stored as INT8: the values
  are theirs, the kernels the INT8 ones, and the file is no smaller than at 8 bits.
"""

from __future__ import annotations

from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import ExplicitZeroPoints, FloatBiases, PairsBehindLayout
from zqc.targets.target import Target

TENSORRT = Target(
    name="tensorrt",
    summary="NVIDIA TensorRT: int8 with zero point 0, where weighted layers read",
    guarantees=(
        "Every quantized tensor is int8 with zero point 0, also where it cannot be negative.",
        "Quantized is what Conv, ConvTranspose, Gemm and MatMul read, and the shortcut that is "
        "added to the result of one; everything else is computed in float.",
        "Biases are float.",
        "Weights of fewer than 8 bits keep their values but are stored as int8: TensorRT has INT4 "
        "for matrix products only, without integer arithmetic.",
        "Activations have 8 bits.",
    ),
    lowering=lambda _min_runtime: (
        FloatBiases(),
        PairsBehindLayout(),
        ExplicitZeroPoints(),
        RemoveUnusedNodesPass(),
    ),
    placement="layer inputs",
    unsigned=False,
    shifts=False,
    int4=False,
    act_bits=(8,),
    cost="On plain ONNX Runtime (x86) its files take 1.4 times as long as the float model.",
)
