"""Calibration pictures from the BatchNorm statistics in the model."""

from zqc.synthesis.generate import Schedule, Synthesis, synthesize
from zqc.synthesis.statistics import LayerStatistics, harvest

__all__ = ["LayerStatistics", "Schedule", "Synthesis", "harvest", "synthesize"]
