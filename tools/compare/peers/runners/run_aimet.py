"""AIMET's quantization simulation for ONNX, exported as QDQ with integer weights.

BatchNorm is folded with AIMET's own function first, as its documentation asks for. The
configuration holds ``weights`` and ``activations`` (names of AIMET's types), ``scheme`` (how ranges
are found), ``sequential_mse``, ``adaround`` (its iterations), ``float_post_processing``, and
``edges`` for 8 bits in the first and the last layers; what it does not hold has AIMET's default.
With ``edges``, activations inside of SiLU have 8 bits, too.
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
    names = {"weights": "param_type", "activations": "activation_type", "scheme": "quant_scheme"}
    types = {name: config[key] for key, name in names.items() if key in config}
    wide = common.wide_activations(folded) if config.get("edges") else set()
    sim = aimet_onnx.QuantizationSimModel(folded, **types)
    quantizers = sim.qc_quantize_op_dict
    excluded = []
    if config.get("float_post_processing"):
        excluded += common.post_processing(source)
        excluded += common.constant(source)  # AIMET quantizes even the factors of a Resize
    # AIMET gives all inputs of a Concat one grid: those of the post-processing are left out, too.
    for node in source.graph.node:
        for name in (*node.input, *node.output) if node.name in excluded else ():
            if name in quantizers:
                quantizers[name].enabled = False
    if config.get("edges"):
        weights = {layer.input[1] for layer in common.edges(source)}
        for name in (weights | wide).intersection(quantizers):
            quantizers[name].set_bitwidth(8)
    batches = common.batched(source, feeds, _BATCH)
    if config.get("sequential_mse"):
        aimet_onnx.apply_seq_mse(sim, batches, nodes_to_exclude=excluded)
    if "adaround" in config:  # a step takes one of the inputs, of up to 32 pictures: here one
        aimet_onnx.apply_adaround(sim, feeds, num_iterations=config["adaround"])
    sim.compute_encodings(batches)
    quantized = sim.to_onnx_qdq(prequantize_constants=True)
    common.keep_in_bytes(quantized)
    onnx.save(quantized, output)


if __name__ == "__main__":
    common.run(quantize)
