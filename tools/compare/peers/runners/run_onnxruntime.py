"""ONNX Runtime's ``quantize_static``, after the preprocessing that its documentation asks for.

The configuration holds ``activations`` and ``weights`` (names of QuantType), ``per_channel``,
``float_post_processing``, and ``edges`` for 8-bit weights in the first and the last layers; what it
does not hold has ONNX Runtime's default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common
import onnx
from onnxruntime.quantization import QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


def quantize(model: Path, feeds: list[common.Feed], output: Path, config: dict[str, Any]) -> None:
    """Fold BatchNorm and infer shapes, then quantize to QDQ."""
    prepared = output.with_suffix(".prepared")
    quant_pre_process(model, prepared)
    proto = onnx.load(prepared)
    options: dict[str, Any] = {}
    if "activations" in config:
        options["activation_type"] = QuantType[config["activations"]]
    if "weights" in config:
        options["weight_type"] = QuantType[config["weights"]]
    if "per_channel" in config:
        options["per_channel"] = config["per_channel"]
    if config.get("float_post_processing"):
        options["nodes_to_exclude"] = common.post_processing(proto)
    if config.get("edges"):
        override = [
            {"quant_type": QuantType.QInt8, **({"axis": 0} if config["per_channel"] else {})}
        ]
        overrides = {layer.input[1]: override for layer in common.edges(proto)}
        options["extra_options"] = {"TensorQuantOverrides": overrides}
    quantize_static(prepared, output, common.Reader(feeds), **options)
    prepared.unlink()


if __name__ == "__main__":
    common.run(quantize)
