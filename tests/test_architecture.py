"""The direction of imports, the public names, and what may not be imported at all."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import passes
import zqc

ROOT = Path(__file__).parents[1]

# From the top to the bottom; a module imports from its own floor or from below.
FLOORS = (
    {"cli", "options", "recipe_options", "sections"},
    {"inspection"},
    {"compiler", "checker", "benchmark", "statistics_card"},
    {"bit_choice", "equalization_choice"},
    {"equalization", "output_scales", "output_agreement"},
    {"quantization", "calibration_pictures"},
    {"grids", "reconstruction"},
    {"synthesis", "calibration", "mixed_precision", "detection", "report"},
    {"autodiff", "runtime", "model_io", "recipe_file"},
    {"onnx_file", "admission", "lowest_opset", "upgrade", "atomic", "images", "recipe", "progress"},
    {"input_format", "picture_input", "targets"},
    {"errors", "cpu", "extras", "file_path", "kernel_times", "native_output", "runtime_versions"},
)
FLOOR = {module: height for height, modules in enumerate(reversed(FLOORS)) for module in modules}

LIGHT = {
    "faster_coco_eval",
    "highspy",
    "matplotlib",
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "onnxsim",
    "rich",
    "torch",
}
"""What ``zqc --help`` must not wait for; torch must not be imported by the product at all."""


def files(package):
    """Every module of a package."""
    return sorted((ROOT / package).rglob("*.py"))


def imports(path, *, for_types=True):
    """Dotted names of everything that a file imports, for type checking only or not."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if not for_types else ():
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            deeper = node.module == "zqc"
            yield from (f"zqc.{a.name}" for a in node.names) if deeper else [node.module]


def test_passes_stand_alone():
    """Passes import numpy, onnx_ir, each other and the standard library: never zqc."""
    allowed = {"numpy", "onnx_ir", "ml_dtypes", "passes"} | sys.stdlib_module_names
    for path in files("passes"):
        assert {name.split(".")[0] for name in imports(path)} <= allowed, path


def test_imports_run_one_way():
    """A module imports from its own floor or from below, except to name a type."""
    for path in files("zqc"):
        module = path.relative_to(ROOT).with_suffix("").parts[1]
        for name in imports(path, for_types=False):
            root, _, rest = name.partition(".")
            imported = rest.split(".")[0]
            if root == "zqc" and {module, imported} <= set(FLOOR):
                assert FLOOR[imported] <= FLOOR[module], f"{module} imports {imported}"


def test_every_module_has_its_floor():
    """A new module is given its place here."""
    found = {
        entry.stem for entry in (ROOT / "zqc").iterdir() if entry.suffix == ".py" or entry.is_dir()
    }
    assert found - {"__init__", "__pycache__"} == set(FLOOR)


def test_no_training_framework():
    """The product never imports PyTorch, and tools and tests stay outside of it."""
    for path in files("zqc") + files("passes"):
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & {"torch", "torchvision", "tools", "tests"}, path


def test_sessions_are_made_in_one_place():
    """Only runtime imports ONNX Runtime."""
    users = [path.name for path in files("zqc") if "onnxruntime" in set(imports(path))]
    assert users == ["runtime.py"]


def test_command_line_starts_fast():
    """Nothing heavy is imported before a command does its work."""
    script = "import sys, zqc.cli; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert not set(output.split()) & LIGHT


def test_public_names_of_zqc():
    """What users may rely on; a change here is a change of the interface."""
    assert sorted(zqc.__all__) == [
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
    assert all(getattr(zqc, name) for name in zqc.__all__)
    with pytest.raises(AttributeError, match="quantise"):
        zqc.quantise  # noqa: B018 - looking it up is the test


def test_public_names_of_passes():
    """The passes that may be used on their own."""
    assert sorted(passes.__all__) == [
        "AbsorbedBounds",
        "BatchNormToConv",
        "CanonicalActivations",
        "CanonicalClips",
        "CanonicalGelu",
        "ColumnBlocks",
        "ConvTransposeToConv",
        "DerivedBiasScales",
        "EarlyMaxPools",
        "EqualizeChannels",
        "ExplicitConvolutions",
        "FixedBatch",
        "FloatBarriers",
        "FloatBiases",
        "FoldArithmetic",
        "FoldBatchNorm",
        "FoldBatchSize",
        "GemmZeroPoints",
        "Int4WeightsByCast",
        "IntegerClips",
        "IntegerDepthToSpace",
        "IntegerHardActivations",
        "IntegerResizes",
        "LateMoves",
        "MeansToPools",
        "PackedScales",
        "PackedWeights",
        "PairsBehindMoves",
        "QuantizeActivations",
        "QuantizeWeights",
        "ScalarScales",
        "ScaleOutputs",
        "ShiftNegativeCorrection",
        "ShortNames",
        "SignedActivations",
        "SplitBranches",
        "SplitClips",
        "UnsignedActivations",
        "UnsignedMatrices",
        "WideActivations",
        "WideMaxima",
    ]
    assert all(getattr(passes, name) for name in passes.__all__)
