"""All activations as INT8: what ONNX Runtime's integer kernels on ARM take."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.lower.stored_activations import store_activations


@dataclass(frozen=True)
class SignedActivations(ir.passes.InPlacePass):
    """Store every quantized tensor as INT8. Exact: q − 128 with zero point −128 is the same value.

    The cases are those of ``store_activations``: UINT8 with zero point 0 gets zero point
    −128 and any other one less 128, UINT4 a Clip to −128…−113 on the integers between the pair,
    INT4 one to −8…7. INT8 stays.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every pair."""
        return ir.passes.PassResult(model, store_activations(model, ir.DataType.INT8))
