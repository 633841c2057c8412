"""Runs a model in OpenVINO on the CPU; needs OpenVINO and NumPy.

    python openvino_runner.py MODEL FEEDS.npz OUTPUTS.npz PRECISION

PRECISION is ``f32`` for arithmetic in float32, or ``default`` for what OpenVINO thinks best on this
processor. Prints which one it takes.
"""

from __future__ import annotations

import sys

import numpy as np
import openvino as ov
from openvino import properties


def main(model: str, feeds: str, outputs: str, precision: str) -> None:
    """Run the model once and write its outputs by name."""
    core = ov.Core()
    options = {properties.inference_num_threads(): 1}
    if precision != "default":
        options[properties.hint.inference_precision()] = ov.Type.f32
    compiled = core.compile_model(core.read_model(model), "CPU", options)
    with np.load(feeds) as given:
        results = compiled(dict(given))
    np.savez(outputs, **{port.any_name: array for port, array in results.items()})
    print(compiled.get_property(properties.hint.inference_precision()).get_type_name())


if __name__ == "__main__":
    main(*sys.argv[1:])
