"""AMD's NPUs (Ryzen AI, Versal) through ONNX Runtime's Vitis AI execution provider.

- Weights are int8 with one scale each, activations and weights symmetric: what AMD Quark's
  quantizer for the NPU enforces
  (https://github.com/amd/Quark/blob/main/quark/onnx/quantizers/npu_cnn_quantizer.py). Scales are
  powers of two: its presets XINT8 and VINT8
  (https://github.com/amd/Quark/blob/main/quark/onnx/quantization/config/custom_config.py).
- "Models with ONNX opset 17 are recommended": https://ryzenai.docs.amd.com/en/1.4/modelrun.html.
- A Conv that leaves attributes to their defaults crashes the provider:
  https://github.com/onnxsim/onnxsim/issues/1404.
"""

from __future__ import annotations

from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import (
    ExplicitConvolutions,
    ExplicitZeroPoints,
    FixedBatch,
    PairsBehindLayout,
    ScalarScales,
)
from zqc.targets.target import Target

VITISAI = Target(
    name="vitisai",
    summary="AMD NPUs by the Vitis AI provider: int8, one power-of-two scale a tensor",
    guarantees=(
        "Every tensor and every weight is int8 with zero point 0 and one power-of-two scale.",
        "Biases are int32 on the scale of the products, as Quark's option Int32Bias writes them.",
        "Every Conv and ConvTranspose says all its attributes.",
        "The batch is 1 where the float model leaves it open.",
        "The opset is no newer than the float model's; AMD recommends 17.",
        "Weights of fewer than 8 bits keep their values but are stored as int8; activations have "
        "8 bits.",
    ),
    lowering=lambda _min_runtime: (
        ScalarScales(),
        ExplicitConvolutions(),
        PairsBehindLayout(),
        FixedBatch(),
        ExplicitZeroPoints(),
        RemoveUnusedNodesPass(),
    ),
    unsigned=False,
    shifts=False,
    per_tensor=frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"}),
    int4=False,
    act_bits=(8,),
    cost="On plain ONNX Runtime (x86) its files take 1.6 times as long as the float model.",
)
