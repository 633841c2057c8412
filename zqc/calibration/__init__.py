"""Ranges of tensors and the power-of-two thresholds chosen from them."""

from zqc.calibration.bounds import grid_up_to, known_bound
from zqc.calibration.distances import identity, sigmoid, softplus
from zqc.calibration.histogram import Histogram, without_outliers
from zqc.calibration.ranges import Statistics, TensorStatistics, collect
from zqc.calibration.sensitivity import Sensitivity, sensitivities, weighted
from zqc.calibration.thresholds import Method, choose_grid

__all__ = [
    "Histogram",
    "Method",
    "Sensitivity",
    "Statistics",
    "TensorStatistics",
    "choose_grid",
    "collect",
    "grid_up_to",
    "identity",
    "known_bound",
    "sensitivities",
    "sigmoid",
    "softplus",
    "weighted",
    "without_outliers",
]
