"""AIMET's quantization simulation for ONNX, exported as QDQ with integer weights.

BatchNorm is folded with AIMET's own function first, as its documentation asks for. The
configuration holds ``weights`` and ``activations`` (names of AIMET's types), ``sequential_mse``,
``float_post_processing``, and ``edges`` for 8 bits in the first and the last layers; what it does
not hold has AIMET's default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aimet_onnx
import common
import onnx
from aimet_onnx.batch_norm_fold import fold_all_batch_norms_to_weight

_BATCH = 16  # sequential MSE runs each layer once per candidate and batch


def quantize(model: Path, feeds: list[common.Feed], output: Path, config: dict[str, Any]) -> None:
    """Fold BatchNorm, calibrate the simulation, and write it."""
    source, folded = onnx.load(model), onnx.load(model)
    fold_all_batch_norms_to_weight(folded)
    types = {"param_type": config.get("weights"), "activation_type": config.get("activations")}
    sim = aimet_onnx.QuantizationSimModel(folded, **{k: v for k, v in types.items() if v})
    quantizers = sim.qc_quantize_op_dict
    excluded = common.post_processing(source) if config.get("float_post_processing") else []
    # AIMET gives all inputs of a Concat one grid: those of the post-processing are left out, too.
    for node in source.graph.node:
        for name in (*node.input, *node.output) if node.name in excluded else ():
            if name in quantizers:
                quantizers[name].enabled = False
    if config.get("edges"):
        for layer in common.edges(source):
            quantizers[layer.input[1]].set_bitwidth(8)
    batches = common.batched(source, feeds, _BATCH)
    if config.get("sequential_mse"):
        aimet_onnx.apply_seq_mse(sim, batches, nodes_to_exclude=excluded)
    sim.compute_encodings(batches)
    onnx.save(sim.to_onnx_qdq(prequantize_constants=True), output)


if __name__ == "__main__":
    common.run(quantize)
