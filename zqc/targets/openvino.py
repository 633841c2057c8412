"""Intel OpenVINO, which reads QuantizeLinear as FakeQuantize.

- Its ONNX frontend takes 8 and 4 bits, signed and not, with any zero point, and makes FakeQuantize
  of 2ᵇ levels and a conversion of it:
  https://github.com/openvinotoolkit/openvino/blob/master/src/frontends/onnx/frontend/src/op/quantize_linear.cpp.
- Its low-precision transformations move what dequantizes behind the operators, so that these
  compute with 8-bit integers, signed or unsigned:
  https://docs.openvino.ai/2024/documentation/openvino-extensibility/openvino-plugin-library/advanced-guides/quantized-models.html.

Measured with OpenVINO 2026.4.1 on the CPU, asked for float32: with pairs on all tensors every Conv
is an INT8 kernel, and outputs are those of ONNX Runtime up to float rounding, but for half-way
points of residual sums that it fuses with a Conv. INT4 straight into DequantizeLinear computes in
float32, INT4 behind a Cast in 8 bits. UINT4 activations give other values; a Clip of 8-bit integers
gives the right ones.
"""

from __future__ import annotations

from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import ExplicitZeroPoints, Int4WeightsByCast, PairsBehindLayout, WideActivations
from zqc.targets.target import ACT_BITS, Target

OPENVINO = Target(
    name="openvino",
    summary="Intel OpenVINO: standard QDQ, 8-bit integers throughout",
    guarantees=(
        "Activations are int8 with zero point 0, or uint8 where they cannot be negative or have a "
        "shift.",
        "4-bit weights occupy 4 bits, and are int8 once OpenVINO has folded the Cast behind them.",
        "Activations of fewer bits are a Clip of 8-bit integers, which computes in 8 bits.",
    ),
    act_bits=ACT_BITS,
    lowering=lambda _min_runtime: (
        WideActivations(),
        Int4WeightsByCast(),
        PairsBehindLayout(),
        ExplicitZeroPoints(),
        RemoveUnusedNodesPass(),
    ),
    cost="On plain ONNX Runtime (x86) its files take 1.6 to 2.2 times as long as the float model.",
)
