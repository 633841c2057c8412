"""NNCF's post-training quantization of ONNX models, with its defaults.

NNCF leaves BatchNorm in the graph, and then ONNX Runtime fuses next to nothing; ONNX Runtime's own
preprocessing folds it first, as exporters do. The configuration holds ``preset``, or nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common
import nncf
import onnx
from onnxruntime.quantization.shape_inference import quant_pre_process


def quantize(model: Path, feeds: list[common.Feed], output: Path, config: dict[str, Any]) -> None:
    """Fold BatchNorm, then quantize to QDQ."""
    prepared = output.with_suffix(".prepared")
    quant_pre_process(model, prepared)
    preset = nncf.QuantizationPreset(config["preset"]) if "preset" in config else None
    quantized = nncf.quantize(
        onnx.load(prepared), nncf.Dataset(feeds), preset=preset, subset_size=len(feeds)
    )
    onnx.save(quantized, output)
    prepared.unlink()


if __name__ == "__main__":
    common.run(quantize)
