"""The runtimes that zqc writes for, each as data: what it asks of the graph, and its passes."""

from __future__ import annotations

from zqc.targets.registry import BUILT_IN, GROUP, check_name, find, names, package_of
from zqc.targets.target import Kernels, PairPlacement, Target

__all__ = [
    "BUILT_IN",
    "GROUP",
    "Kernels",
    "PairPlacement",
    "Target",
    "check_name",
    "find",
    "names",
    "package_of",
]
