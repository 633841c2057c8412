"""zqc: a quantization compiler for object detectors in ONNX that needs no calibration data."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zqc.benchmark.measure import bench
    from zqc.benchmark.results import BenchResult
    from zqc.checker import check
    from zqc.compiler import compile_model as compile  # noqa: A004 - the name users expect
    from zqc.compiler import synthesize_to as synthesize
    from zqc.errors import ZqcError
    from zqc.input_format import InputFormat
    from zqc.recipe import Recipe
    from zqc.report.results import CheckResult, CompileResult, StatsResult, SynthesisResult
    from zqc.statistics_card import stats

__version__ = version("zqc")

__all__ = [
    "BenchResult",
    "CheckResult",
    "CompileResult",
    "InputFormat",
    "Recipe",
    "StatsResult",
    "SynthesisResult",
    "ZqcError",
    "__version__",
    "bench",
    "check",
    "compile",
    "stats",
    "synthesize",
]

# Loaded on first use (PEP 562): `zqc --help` must not wait for ONNX Runtime.
_HOMES = {
    "BenchResult": ("zqc.benchmark.results", "BenchResult"),
    "CheckResult": ("zqc.report.results", "CheckResult"),
    "CompileResult": ("zqc.report.results", "CompileResult"),
    "InputFormat": ("zqc.input_format", "InputFormat"),
    "Recipe": ("zqc.recipe", "Recipe"),
    "StatsResult": ("zqc.report.results", "StatsResult"),
    "SynthesisResult": ("zqc.report.results", "SynthesisResult"),
    "ZqcError": ("zqc.errors", "ZqcError"),
    "bench": ("zqc.benchmark.measure", "bench"),
    "check": ("zqc.checker", "check"),
    "compile": ("zqc.compiler", "compile_model"),
    "stats": ("zqc.statistics_card", "stats"),
    "synthesize": ("zqc.compiler", "synthesize_to"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'zqc' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
