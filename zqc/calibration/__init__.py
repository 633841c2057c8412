"""Ranges of tensors and the power-of-two thresholds chosen from them."""
