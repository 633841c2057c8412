"""Ranges of tensors and the power-of-two thresholds chosen from them."""

from zqc.calibration.histogram import Histogram
from zqc.calibration.ranges import Statistics, TensorStatistics, collect
from zqc.calibration.thresholds import choose_grid, identity, sigmoid, softplus

__all__ = [
    "Histogram",
    "Statistics",
    "TensorStatistics",
    "choose_grid",
    "collect",
    "identity",
    "sigmoid",
    "softplus",
]
