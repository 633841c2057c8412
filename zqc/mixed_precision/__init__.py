"""Bits by layer: predicted losses, measured costs, and the best choice within a budget."""

from zqc.mixed_precision.allocation import Allocation, Budget, Costs, allocate
from zqc.mixed_precision.choice import choose_bits, widths_to_try
from zqc.mixed_precision.costs import latency_costs, size_costs, useful_widths
from zqc.mixed_precision.losses import (
    FLOAT_BITS,
    Losses,
    output_errors,
    weight_losses,
)

__all__ = [
    "FLOAT_BITS",
    "Allocation",
    "Budget",
    "Costs",
    "Losses",
    "allocate",
    "choose_bits",
    "latency_costs",
    "output_errors",
    "size_costs",
    "useful_widths",
    "weight_losses",
    "widths_to_try",
]
