"""Runs a model in OpenCV on the CPU; needs OpenCV and NumPy.

    python opencv_runner.py MODEL FEEDS.npz OUTPUTS.npz

Prints the version.
"""

from __future__ import annotations

import sys

import cv2
import numpy as np


def main(model: str, feeds: str, outputs: str) -> None:
    """Run the model once and write its outputs by name."""
    cv2.setNumThreads(1)
    try:
        net = cv2.dnn.readNetFromONNX(model)
        with np.load(feeds) as given:
            for name, array in given.items():
                net.setInput(array, name)
        names = net.getUnconnectedOutLayersNames()
        values = net.forward(names)
    except cv2.error as error:
        first, _, _ = error.err.lstrip("\n >").partition("\n")
        sys.exit(first.partition(" parse error:")[0])
    np.savez(outputs, **dict(zip(names, values, strict=True)))
    print(cv2.__version__)


if __name__ == "__main__":
    main(*sys.argv[1:])
