"""What the kernels of a model do, how long it takes, and how many operations that is.

All times are those of the fastest run of each kernel, as the integer peak is one, too: a machine
that does other work adds whole slices of a scheduler to single kernels.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from passes.operators import WEIGHTED
from zqc.benchmark.results import Kernel, Kind, Operators, Throughput
from zqc.runtime.executed import INTEGER_LAYERS
from zqc.runtime.kernel_times import plain_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zqc.runtime.kernel_times import KernelTime

KINDS: tuple[Kind, ...] = ("integer", "float", "conversion", "layout")

_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
_LAYOUT = frozenset(
    {
        "DepthToSpace",
        "Flatten",
        "Identity",
        "MemcpyFromHost",
        "MemcpyToHost",
        "ReorderInput",
        "ReorderOutput",
        "Reshape",
        "SpaceToDepth",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
_FLOATS = frozenset({"float", "float16", "bfloat16", "double"})
_FLOAT_LAYERS = WEIGHTED | {
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "MatMulNBits",
    "NhwcFusedConv",
    "TransposeMatMul",
}
_WEIGHT_INPUT = {"ConvInteger": 1, "QLinearConv": 3}


def kind(kernel: KernelTime) -> Kind:
    """Say what a kernel does.

    Case 1: QuantizeLinear and DequantizeLinear convert, and so does Cast between integers and
    floats. Case 2: operators that change nothing but shape or memory layout move data, in whatever
    type. Case 3: QLinear operators and layers with integer weights compute on integers; that their
    scales are float does not count. Case 4: any other kernel computes in float when it reads or
    writes a float tensor, and on integers when not.
    """
    floats = {element in _FLOATS for element, _ in (*kernel.inputs, *kernel.outputs)}
    if kernel.op_type in _CONVERSIONS or (kernel.op_type == "Cast" and len(floats) > 1):
        return "conversion"
    if kernel.op_type in _LAYOUT:
        return "layout"
    if kernel.op_type in INTEGER_LAYERS or kernel.op_type.startswith("QLinear"):
        return "integer"
    return "float" if True in floats else "integer"


def layers(kernels: Sequence[KernelTime]) -> tuple[int, int]:
    """The number of weighted layers, and of those among them on integer kernels."""
    integer = sum(kernel.op_type in INTEGER_LAYERS for kernel in kernels)
    return integer + sum(kernel.op_type in _FLOAT_LAYERS for kernel in kernels), integer


def by_operator(kernels: Sequence[KernelTime]) -> tuple[Operators, ...]:
    """Add up the kernels of each operator and kind, the longest first."""
    seconds: defaultdict[tuple[str, Kind], float] = defaultdict(float)
    counts = Counter((kernel.op_type, kind(kernel)) for kernel in kernels)
    for kernel in kernels:
        seconds[kernel.op_type, kind(kernel)] += kernel.best
    whole = _total(kernels)
    return tuple(
        Operators(op_type, does, counts[op_type, does], 1e3 * taken, taken / whole)
        for (op_type, does), taken in sorted(seconds.items(), key=lambda item: -item[1])
    )


def shares(kernels: Sequence[KernelTime]) -> dict[Kind, float]:
    """The share of the time that kernels of each kind take."""
    whole = _total(kernels)
    return {
        each: sum(kernel.best for kernel in kernels if kind(kernel) == each) / whole
        for each in KINDS
    }


def each_kernel(kernels: Sequence[KernelTime], peak_gops: float | None) -> tuple[Kernel, ...]:
    """Describe every kernel, the longest first."""
    whole = _total(kernels)
    described = []
    for kernel in sorted(kernels, key=lambda kernel: -kernel.best):
        macs = integer_macs(kernel)
        gops = None if not macs or not kernel.best else 2e-9 * macs / kernel.best
        described.append(
            Kernel(
                name=plain_name(kernel.name),
                op_type=kernel.op_type,
                kind=kind(kernel),
                ms=1e3 * kernel.best,
                share=kernel.best / whole,
                gops=gops,
                of_peak=None if gops is None or peak_gops is None else gops / peak_gops,
            )
        )
    return tuple(described)


def throughput(
    kernels: Sequence[KernelTime], peak_gops: float, *, grouped: bool
) -> Throughput | None:
    """Divide the operations of integer layers by their time; None where there are none.

    Args:
        kernels: All kernels.
        peak_gops: The machine's integer peak.
        grouped: Whether to look at the grouped convolutions or at all other layers.
    """
    chosen = [
        (macs, kernel.best)
        for kernel in kernels
        if (macs := integer_macs(kernel)) and is_grouped(kernel) == grouped
    ]
    seconds = sum(taken for _, taken in chosen)
    if not seconds:
        return None
    gops = 2e-9 * sum(macs for macs, _ in chosen) / seconds
    return Throughput(len(chosen), gops, gops / peak_gops)


def integer_macs(kernel: KernelTime) -> int | None:
    """Multiplications of a layer on an integer kernel; None of others and of unknown shapes.

    A convolution does one for each output value and weight of the output's channel; a matrix
    product, of m × k by k × n, one for each output value and k.
    """
    if kernel.op_type not in INTEGER_LAYERS or not kernel.outputs or not kernel.inputs:
        return None
    result, left = kernel.outputs[0][1], kernel.inputs[0][1]
    if kernel.op_type in _WEIGHT_INPUT:
        weight = _weight(kernel)
        return math.prod(result) * math.prod(weight[1:]) if weight else None
    if not result or not left:
        return None
    # Gemm may have its left operand transposed: m · k values by m rows.
    depth = math.prod(left) // max(result[0], 1) if kernel.op_type == "QGemm" else left[-1]
    return math.prod(result) * depth


def is_grouped(kernel: KernelTime) -> bool:
    """Whether the filters of a convolution see only a part of the channels."""
    weight = _weight(kernel)
    data = kernel.inputs[0][1] if kernel.inputs else ()
    # Channels are second, or last after a change of the memory layout.
    return len(weight) > 1 and len(data) > 1 and weight[1] not in (data[1], data[-1])


def _weight(kernel: KernelTime) -> tuple[int, ...]:
    """The shape of a convolution's weights: output channels, input channels of a group, sides."""
    index = _WEIGHT_INPUT.get(kernel.op_type, len(kernel.inputs))
    return kernel.inputs[index][1] if index < len(kernel.inputs) else ()


def _total(kernels: Sequence[KernelTime]) -> float:
    """Seconds of all kernels; 1 where nothing was measured, so that shares are 0."""
    return sum(kernel.best for kernel in kernels) or 1.0
