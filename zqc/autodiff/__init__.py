"""Reverse-mode differentiation as a transformation from ONNX graph to ONNX graph."""

from __future__ import annotations

from zqc.autodiff.engine import gradient, supported_operators
from zqc.autodiff.optimizer import adam_step

__all__ = ["adam_step", "gradient", "supported_operators"]
