"""AMD Quark's quantization of ONNX models, and its learned rounding.

Quark simplifies the model and folds BatchNorm by itself. The configuration holds ``scales``, which
are powers of two by default (XINT8, for AMD's NPUs), or ``any``, with one for each channel of the
weights (A8W8); ``weights``, the name of a type of ONNX Runtime that Quark itself has none for;
``equalize`` (CLE, as the YOLOv8 example that Quark ships with has it); ``adaround`` or ``adaquant``
(their iterations); and ``float_post_processing``. None of them is on by default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common
import onnx
from onnxruntime.quantization import QuantType
from quark.onnx import (
    AdaQuantConfig,
    AdaRoundConfig,
    CLEConfig,
    Int8Spec,
    ModelQuantizer,
    QConfig,
    QLayerConfig,
    QuantGranularity,
    XInt8Spec,
)
from quark.onnx.quantization.config.data_type import Int8

_A8W8 = {"AlignSlice": False, "FoldRelu": True, "AlignConcat": True}  # as Quark's preset has them


def quantize(model: Path, feeds: list[common.Feed], output: Path, config: dict[str, Any]) -> None:
    """Quantize to QDQ."""
    free = config.get("scales") == "any"
    algorithms = []
    if config.get("equalize"):
        algorithms.append(CLEConfig())
    if "adaround" in config:
        algorithms.append(AdaRoundConfig(num_iterations=config["adaround"]))
    if "adaquant" in config:
        algorithms.append(AdaQuantConfig(num_iterations=config["adaquant"]))
    recipe = QConfig(
        global_config=_any_scales(config) if free else _powers_of_two(),
        algo_config=algorithms,
        exclude=common.post_processing(onnx.load(model))
        if config.get("float_post_processing")
        else [],
        **(_A8W8 if free else {"EnableNPUCnn": True}),
    )
    ModelQuantizer(recipe).quantize_model(str(model), str(output), common.Reader(feeds))


def _powers_of_two() -> QLayerConfig:
    return QLayerConfig(activation=XInt8Spec(), weight=XInt8Spec())


def _any_scales(config: dict[str, Any]) -> QLayerConfig:
    kind = Int8
    if "weights" in config:  # Quark has no such type: it says so
        kind = type("Asked", (Int8,), {"map_onnx_format": QuantType[config["weights"]]})
    weight = Int8Spec(quant_granularity=QuantGranularity.Channel, data_type=kind)
    return QLayerConfig(activation=Int8Spec(), weight=weight)


if __name__ == "__main__":
    common.run(quantize)
