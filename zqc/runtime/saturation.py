"""Where 8-bit kernels lose bits: pairs of products that are added up in 16 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zqc.runtime import cpu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zqc.runtime.executed import LayerReport

_LARGEST_ACTIVATION = 255
_LARGEST_SUM = 2**15 - 1


def can_saturate(bits: int) -> bool:
    """Whether the sum of two products of a uint8 and a weight of so many bits leaves 16 bits.

    VPMADDUBSW, which AVX2 multiplies with (Intel SDM, volume 2), saturates a·w + a'·w' to
    [-2¹⁵, 2¹⁵ - 1]. The largest magnitude is 2 · 255 · 2ᵇ⁻¹: 32,640 at 7 bits, 65,280 at 8.
    """
    return 2 * _LARGEST_ACTIVATION * (1 << (bits - 1)) > _LARGEST_SUM


def warning(layers: Sequence[LayerReport], target: str, features: frozenset[str]) -> str:
    """Say which layers may saturate on a processor; empty where none can.

    Args:
        layers: Every layer with the bits of its weights.
        target: What the model is lowered for.
        features: What the processor can do, see ``zqc.runtime.cpu``.
    """
    concerned = [layer for layer in layers if layer.integer and can_saturate(layer.weight_bits)]
    if target != "ort-x86" or "avx2" not in features or cpu.has_vnni(features) or not concerned:
        return ""
    return (
        f"this processor has AVX2 without VNNI, where sums of 8-bit products can saturate: in "
        f"{len(concerned)} of {len(layers)} layers; --reduce-range keeps weights at 7 bits"
    )
