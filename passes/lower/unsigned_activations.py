"""All activations as UINT8: what ONNX Runtime's integer kernels on x86 take."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.lower.stored_activations import store_activations


@dataclass(frozen=True)
class UnsignedActivations(ir.passes.InPlacePass):
    """Store every quantized tensor as UINT8. Exact: q + 128 with zero point 128 is the same value.

    The cases are those of ``store_activations``: INT8 with zero point 0 gets zero point
    128, INT4 a Clip to 120…135 on the integers between the pair, UINT4 one to 0…15. UINT8 stays.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every pair."""
        return ir.passes.PassResult(model, store_activations(model, ir.DataType.UINT8))
