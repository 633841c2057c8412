"""The calibration set: pictures, how they become tensors, and batches of them."""
