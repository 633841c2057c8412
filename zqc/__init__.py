"""zqc: a quantization compiler for object detectors in ONNX that needs no calibration data.

    import zqc

    result = zqc.compile("model.onnx", bits=4)   # writes model.w4a8.onnx
    print(result)                                # what it cost and gained
    print(zqc.check("model.onnx", result.output, images="pictures"))

``compile``, ``tune``, ``sweep``, ``synthesize``, ``stats``, ``inspect``, ``check``, ``bench``,
``sensitivity`` and ``debug`` do what the commands of the same names do. Models are paths,
``onnx.ModelProto`` or ``onnx_ir.Model``; ``help(zqc.compile)`` says what else they take.
"""

TYPE_CHECKING = False  # as in ``typing``, which takes longer to read than all that is read here
if TYPE_CHECKING:
    from zqc.benchmark.results import BenchResult
    from zqc.commands.bench import bench
    from zqc.commands.check import check
    from zqc.commands.check_result import CheckResult
    from zqc.commands.compile import CompileResult
    from zqc.commands.compile import compile_model as compile  # noqa: A004 - the name users expect
    from zqc.commands.debug import debug
    from zqc.commands.inspect import Inspection, inspect
    from zqc.commands.sensitivity import sensitivity
    from zqc.commands.stats import StatsResult, stats
    from zqc.commands.sweep import sweep
    from zqc.commands.sweep_result import SweepResult
    from zqc.commands.synthesize import SynthesisResult
    from zqc.commands.synthesize import synthesize_to as synthesize
    from zqc.commands.tune import tune_model as tune
    from zqc.diagnosis.results import DebugResult, SensitivityResult
    from zqc.errors import ZqcError
    from zqc.pictures.input_format import InputFormat
    from zqc.recipe.recipe import Recipe
    from zqc.version import __version__


__all__ = [
    "BenchResult",
    "CheckResult",
    "CompileResult",
    "DebugResult",
    "InputFormat",
    "Inspection",
    "Recipe",
    "SensitivityResult",
    "StatsResult",
    "SweepResult",
    "SynthesisResult",
    "ZqcError",
    "__version__",
    "bench",
    "check",
    "compile",
    "debug",
    "inspect",
    "sensitivity",
    "stats",
    "sweep",
    "synthesize",
    "tune",
]

# Loaded on first use (PEP 562): `zqc --help` must not wait for ONNX Runtime.
_HOMES = {
    "BenchResult": ("zqc.benchmark.results", "BenchResult"),
    "CheckResult": ("zqc.commands.check_result", "CheckResult"),
    "DebugResult": ("zqc.diagnosis.results", "DebugResult"),
    "CompileResult": ("zqc.commands.compile", "CompileResult"),
    "InputFormat": ("zqc.pictures.input_format", "InputFormat"),
    "Inspection": ("zqc.commands.inspect", "Inspection"),
    "Recipe": ("zqc.recipe.recipe", "Recipe"),
    "SensitivityResult": ("zqc.diagnosis.results", "SensitivityResult"),
    "StatsResult": ("zqc.commands.stats", "StatsResult"),
    "SweepResult": ("zqc.commands.sweep_result", "SweepResult"),
    "SynthesisResult": ("zqc.commands.synthesize", "SynthesisResult"),
    "ZqcError": ("zqc.errors", "ZqcError"),
    "__version__": ("zqc.version", "__version__"),
    "bench": ("zqc.commands.bench", "bench"),
    "check": ("zqc.commands.check", "check"),
    "compile": ("zqc.commands.compile", "compile_model"),
    "debug": ("zqc.commands.debug", "debug"),
    "inspect": ("zqc.commands.inspect", "inspect"),
    "sensitivity": ("zqc.commands.sensitivity", "sensitivity"),
    "stats": ("zqc.commands.stats", "stats"),
    "sweep": ("zqc.commands.sweep", "sweep"),
    "synthesize": ("zqc.commands.synthesize", "synthesize_to"),
    "tune": ("zqc.commands.tune", "tune_model"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'zqc' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return list(__all__)
