"""The machine's integer peak: its fastest 8-bit matrix product in ONNX Runtime itself."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
import onnx

from zqc.benchmark.results import IntegerPeak
from zqc.runtime import session

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rows, depth and columns. Which one is fastest depends on the caches and the instruction set; all
# operands together are at most 2 MB, as larger ones wait for memory.
_SHAPES = ((256, 256, 256), (512, 512, 512), (512, 2048, 512), (1024, 2048, 256), (256, 4096, 256))
_SECONDS = 0.3
_LEAST_RUNS = 5

_MODEL = """<ir_version: 8, opset_import: ["" : 13]>
product (uint8[rows, depth] a) => (int32[rows, columns] c) { c = MatMulInteger(a, b) }"""


def integer_peak(threads: int) -> IntegerPeak:
    """Measure uint8 × int8 → int32 products of several shapes, the right operand constant.

    That is what QLinearConv and QLinearMatMul call inside, without what they add: gathering the
    pixels under the filter, and rounding to 8 bits. The fastest run of the fastest shape counts.

    Args:
        threads: Threads inside an operator.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    rng = np.random.default_rng(0)
    peaks = []
    for rows, depth, columns in _SHAPES:
        left = rng.integers(0, 256, (rows, depth), np.uint8)
        right = rng.integers(-128, 128, (depth, columns), np.int8)
        seconds = _fastest(left, right, threads)
        peaks.append(IntegerPeak(2e-9 * rows * depth * columns / seconds, (rows, depth, columns)))
    return max(peaks, key=lambda peak: peak.gops)


def _fastest(left: NDArray[np.uint8], right: NDArray[np.int8], threads: int) -> float:
    """Seconds of the fastest product."""
    model = onnx.parser.parse_model(_MODEL)
    model.graph.initializer.append(onnx.numpy_helper.from_array(right, "b"))
    runner = session.load(model.SerializeToString(), threads=threads)
    runner({"a": left})
    fastest, runs, deadline = math.inf, 0, time.perf_counter() + _SECONDS
    while runs < _LEAST_RUNS or time.perf_counter() < deadline:
        start = time.perf_counter()
        runner({"a": left})
        fastest = min(fastest, time.perf_counter() - start)
        runs += 1
    return fastest
