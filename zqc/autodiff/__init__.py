"""Reverse-mode differentiation as a transformation from ONNX graph to ONNX graph."""
