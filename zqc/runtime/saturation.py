"""Where 8-bit kernels lose bits: pairs of products that are added up in 16 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from passes.arithmetic import FLOAT_BITS
from zqc.runtime import cpu

if TYPE_CHECKING:
    from collections.abc import Sequence

WHERE = "this processor has AVX2 without VNNI, where sums of 8-bit products"
"""How sentences on them begin."""

_LARGEST_ACTIVATION = 255
_LARGEST_SUM = 2**15 - 1


def adds_in_16_bits(features: frozenset[str]) -> bool:
    """Whether ONNX Runtime's kernels add pairs of 8-bit products in 16 bits on a processor.

    Args:
        features: What it can do, see ``zqc.runtime.cpu``.
    """
    return "avx2" in features and not cpu.has_vnni(features)


def can_saturate(bits: int) -> bool:
    """Whether the sum of two products of a uint8 and a weight of so many bits leaves 16 bits.

    VPMADDUBSW, which AVX2 multiplies with (Intel SDM, volume 2), saturates a·w + a'·w' to
    [-2¹⁵, 2¹⁵ - 1]. The largest magnitude is 2 · 255 · 2ᵇ⁻¹: 32,640 at 7 bits, 65,280 at 8.
    """
    return 2 * _LARGEST_ACTIVATION * (1 << (bits - 1)) > _LARGEST_SUM


def warning(weight_bits: Sequence[int], features: frozenset[str]) -> str:
    """Say how many layers may saturate on a processor; empty where none can.

    Args:
        weight_bits: Bits of the weights of every layer; 32 of one that is computed in float.
        features: What the processor can do, see ``zqc.runtime.cpu``.
    """
    concerned = sum(bits < FLOAT_BITS and can_saturate(bits) for bits in weight_bits)
    if not adds_in_16_bits(features) or not concerned:
        return ""
    return (
        f"{WHERE} can saturate: in {concerned} of {len(weight_bits)} layers; --reduce-range keeps "
        "weights at 7 bits"
    )
