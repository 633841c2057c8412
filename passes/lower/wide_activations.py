"""4-bit activations in 8 bits, for runtimes whose kernels know no fewer."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.lower.stored_activations import store_activations


@dataclass(frozen=True)
class WideActivations(ir.passes.InPlacePass):
    """Store tensors of 4 bits in 8 bits, with a Clip of the integers. Exact: every value stays.

    The cases are those of ``store_activations``: INT4 becomes INT8 with a Clip to −8…7,
    UINT4 becomes UINT8 with one to 0…15, an odd zero point is raised by one. INT8 and UINT8 stay.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every pair of 4 bits."""
        return ir.passes.PassResult(model, store_activations(model, None))
