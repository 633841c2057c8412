"""Calibration pictures from the statistics of the layers of a model."""
