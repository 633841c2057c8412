"""Calibration pictures from the statistics of the layers of a model."""

from zqc.synthesis.generate import Synthesis, synthesize
from zqc.synthesis.input_choice import choose_input_format
from zqc.synthesis.loop import LayerGap, Schedule
from zqc.synthesis.objective import Objective
from zqc.synthesis.origin import Origin, find_statistics
from zqc.synthesis.state import State
from zqc.synthesis.statistics import LayerStatistics, harvest
from zqc.synthesis.structured_noise import structured_noise

__all__ = [
    "LayerGap",
    "LayerStatistics",
    "Objective",
    "Origin",
    "Schedule",
    "State",
    "Synthesis",
    "choose_input_format",
    "find_statistics",
    "harvest",
    "structured_noise",
    "synthesize",
]
