"""What a runtime asks of a quantized model, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx_ir as ir

    from passes.quantize.quantize_activations import Constants

PairPlacement = Literal["everywhere", "layer inputs"]
Kernels = Literal["here", "arm", "elsewhere"]

ACT_BITS = tuple(range(3, 9))
"""Bits that activations can have where all are stored in 8: fewer are a Clip of the integers."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A form of the quantized model that one runtime, or one kind of machine, works with.

    The canonical graph is the same for all of them up to what they ask of it before calibration:
    which tensors are quantized, and on which grids. From there ``lowering`` only rewrites: every
    tensor keeps its value.

    Attributes:
        name: What ``--target`` calls it.
        summary: What it is, in one line.
        guarantees: What holds of every file that is written for it, a sentence each.
        lowering: The exact passes that make of a canonical graph what the runtime takes. They may
            depend on the oldest ONNX Runtime that has to run it (``min_runtime``), or None.
        placement: Whether every tensor between layers is quantized, or only what Conv,
            ConvTranspose, Gemm and MatMul read and the shortcuts that are added to their results.
        unsigned: Whether tensors that cannot be negative may have an unsigned grid.
        shifts: Whether grids may have zero points of their own (shift-negative correction).
        even_shifts: Whether they have to be even. A runtime, or a pass, that adds them before it
            rounds breaks ties as QuantizeLinear does only then. At 8 bits they always are.
        per_tensor: Operator types whose weights share one step, others having one per channel.
        int4: Whether weights of up to 4 bits are stored in INT4; in INT8 otherwise.
        packed: Bits of weights that the lowering stores in so many, although no type has them.
        act_bits: Bits that activations can have: what it stores them in, or any where it stores all
            of them in 8.
        cost: What its files cost on ONNX Runtime on x86, in a sentence; empty where that was not
            measured.
        kernels: Where the integer kernels are: those of the installed ONNX Runtime, those of ONNX
            Runtime on ARM, which this one can fuse but not time, or in another engine.
    """

    name: str
    summary: str
    guarantees: tuple[str, ...]
    lowering: Callable[[str | None], Sequence[ir.passes.InPlacePass]]
    placement: PairPlacement = "everywhere"
    unsigned: bool = True
    shifts: bool = True
    even_shifts: bool = False
    per_tensor: frozenset[str] = frozenset()
    int4: bool = True
    packed: tuple[int, ...] = ()
    act_bits: tuple[int, ...] = (4, 8)
    kernels: Kernels = "elsewhere"
    cost: str = ""

    @property
    def constants(self) -> Constants:
        """What becomes of the constants that are added to or multiplied with a quantized tensor."""
        if self.placement == "layer inputs":
            return "float"
        return "any grid" if self.unsigned else "signed grid"

    def lower(self, model: ir.Model, min_runtime: str | None = None) -> ir.Model:
        """Return a canonical model in the form that the target takes; every tensor keeps its value.

        Args:
            model: The canonical quantized model, which is not changed.
            min_runtime: The oldest ONNX Runtime that has to run it; None for those of today.

        Raises:
            onnx_ir.passes.PassError: Names the pass that failed, and those that ran before it.
        """
        from onnx_ir.passes import Sequential  # `zqc --help` lists targets and must not wait for it

        return Sequential(*self.lowering(min_runtime))(model.clone()).model
