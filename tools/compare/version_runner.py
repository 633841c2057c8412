"""Loads and runs a model in whatever ONNX Runtime is installed beside it; needs NumPy besides.

    python version_runner.py MODEL FEEDS.npz OUTPUTS.npz EXECUTED.onnx

Prints the version. What it makes of the graph and what it computes go into the last two files.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime as ort


def main(model: str, feeds: str, outputs: str, executed: str) -> None:
    """Run the model once on one thread and let the runtime say what it runs."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = executed
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    with np.load(feeds) as given:
        values = session.run(names, dict(given))
    np.savez(outputs, **dict(zip(names, values)))  # noqa: B905 - Python 3.9 may run this, too
    print(ort.__version__)


if __name__ == "__main__":
    main(*sys.argv[1:])
