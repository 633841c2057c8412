"""Reverse-mode differentiation as a transformation from ONNX graph to ONNX graph."""

from __future__ import annotations

from zqc.autodiff.engine import backward, gradient, supported_operators
from zqc.autodiff.optimizer import adam_step

__all__ = ["adam_step", "backward", "gradient", "supported_operators"]
