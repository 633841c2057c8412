"""AMD Quark's power-of-two preset XINT8, and the same with cross-layer equalization.

Quark simplifies the model and folds BatchNorm by itself. The configuration holds ``equalize``
(CLE, as the YOLOv8 example that Quark ships with has it) and ``float_post_processing``; neither
is on by default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common
import onnx
from quark.onnx import CLEConfig, ModelQuantizer, QConfig, QLayerConfig, XInt8Spec


def quantize(model: Path, feeds: list[common.Feed], output: Path, config: dict[str, Any]) -> None:
    """Quantize to QDQ."""
    exclude = (
        common.post_processing(onnx.load(model)) if config.get("float_post_processing") else []
    )
    recipe = QConfig(
        global_config=QLayerConfig(activation=XInt8Spec(), weight=XInt8Spec()),
        algo_config=[CLEConfig()] if config.get("equalize") else [],
        exclude=exclude,
        EnableNPUCnn=True,
    )
    ModelQuantizer(recipe).quantize_model(str(model), str(output), common.Reader(feeds))


if __name__ == "__main__":
    common.run(quantize)
