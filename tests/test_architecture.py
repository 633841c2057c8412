"""The direction of imports, the public names, and what may not be imported at all."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import passes
import zqc

ROOT = Path(__file__).parents[1]

# From the top to the bottom: a folder imports from itself and from those after it.
FOLDERS = (
    "cli",
    "commands",
    "diagnosis",
    "pipeline",
    "mixed_precision",
    "tuning",
    "quantization",
    "synthesis",
    "calibration",
    "allocation",
    "detection",
    "benchmark",
    "report",
    "statistics",
    "recipe",
    "targets",
    "model_io",
    "autodiff",
    "runtime",
    "pictures",
    "parsing",
    "progress",
    "files",
    "version",
    "errors",
)
STAGES = ("canonicalize", "equalize", "quantize", "lower")
"""Of the passes, in the order in which they run: a pass knows none of another stage."""

LIGHT = {
    "faster_coco_eval",
    "highspy",
    "jinja2",
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


@cache
def imports(path, *, for_types=True):
    """Dotted names of everything that a file imports, for type checking only or not."""
    return frozenset(_imports(ast.parse(path.read_text()), path, for_types))


def _imports(tree, path, for_types):
    for node in ast.walk(tree) if not for_types else ():
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)  # if it is a module


def test_passes_stand_alone():
    """Passes import numpy, onnx_ir, each other and the standard library: never zqc."""
    allowed = {"numpy", "onnx_ir", "ml_dtypes", "passes"} | sys.stdlib_module_names
    for path in files("passes"):
        assert {name.split(".")[0] for name in imports(path)} <= allowed, path


def test_imports_run_one_way():
    """A module imports from its own folder or from those below it, except to name a type."""
    for path in files("zqc"):
        folder = path.relative_to(ROOT).with_suffix("").parts[1]
        for name in imports(path, for_types=False):
            root, _, rest = name.partition(".")
            imported = rest.split(".")[0]
            if root == "zqc" and {folder, imported} <= set(FOLDERS):
                assert FOLDERS.index(folder) <= FOLDERS.index(imported), f"{path} imports {name}"


def test_every_folder_has_its_place():
    """The listing is the architecture: a new folder is given its place here."""
    found = {
        entry.stem for entry in (ROOT / "zqc").iterdir() if entry.suffix == ".py" or entry.is_dir()
    }
    assert found - {"__init__", "__main__", "__pycache__"} == set(FOLDERS)


@pytest.mark.parametrize(("package", "most"), [("zqc", 8), ("passes", 7)])
def test_few_files_stand_loose(package, most):
    """What has a folder stands in it."""
    loose = [entry.name for entry in (ROOT / package).iterdir() if entry.is_file()]
    assert len(loose) <= most, loose


def test_passes_know_no_other_stage():
    """A pass imports its own stage, the analysis and the toolkit: nothing of another stage."""
    for stage in STAGES:
        for path in files(f"passes/{stage}"):
            others = {name.split(".")[1] for name in imports(path) if name.startswith("passes.")}
            assert not others & (set(STAGES) - {stage}), path


def test_no_module_imports_itself_in_a_circle():
    """Modules can be read one after another: none needs one that needs it."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in ("zqc", "passes")
        for path in files(package)
    }
    needs = {
        name: {found for found in imports(path, for_types=False) if found in modules} - {name}
        for name, path in modules.items()
    }
    while free := [name for name, needed in needs.items() if not needed & set(needs)]:
        for name in free:
            del needs[name]
    assert not needs


def test_packages_load_nothing():
    """Only public faces import: any other package costs no more than the module asked for."""
    for path in files("zqc") + files("passes"):
        if path.name == "__init__.py" and path.parent.name not in ("zqc", "passes", "targets"):
            assert all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body), (
                path
            )


def test_no_training_framework():
    """The product never imports PyTorch, and tools and tests stay outside of it."""
    for path in files("zqc") + files("passes"):
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & {"torch", "torchvision", "tools", "tests"}, path


def test_sessions_are_made_in_one_place():
    """Only runtime imports ONNX Runtime."""
    users = [path.name for path in files("zqc") if "onnxruntime" in imports(path)]
    assert users == ["session.py"]


def test_command_line_starts_fast():
    """Nothing heavy is imported before a command does its work."""
    script = "import sys, zqc.cli.main; print(*sorted({m.split('.')[0] for m in sys.modules}))"
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
    assert all(getattr(zqc, name) for name in zqc.__all__)
    with pytest.raises(AttributeError, match="quantise"):
        zqc.quantise  # noqa: B018 - looking it up is the test


def test_public_names_of_passes():
    """The passes that may be used on their own."""
    assert sorted(passes.__all__) == [
        "AbsorbedBounds",
        "BatchNormToConv",
        "BinsLast",
        "BoundedExpectations",
        "CanonicalActivations",
        "CanonicalBatchNorm",
        "CanonicalClips",
        "CanonicalGelu",
        "CanonicalMish",
        "CodedWeights",
        "ColumnBlocks",
        "ConvTransposeToConv",
        "DerivedBiasScales",
        "DropIdle",
        "EarlyMaxPools",
        "EqualizeChannels",
        "ExplicitConvolutions",
        "ExplicitPads",
        "ExplicitZeroPoints",
        "FixedBatch",
        "FloatBarriers",
        "FloatBiases",
        "FoldArithmetic",
        "FoldBatchNorm",
        "FoldBatchSize",
        "FoldNormalization",
        "Int4WeightsByCast",
        "IntegerClips",
        "IntegerDepthToSpace",
        "IntegerHardActivations",
        "IntegerResizes",
        "LeftMatrices",
        "MeansToPools",
        "MergeBranches",
        "PackedScales",
        "PackedWeights",
        "PairsBehindLayout",
        "PlainGemm",
        "PlainSplits",
        "QuantizeActivations",
        "QuantizeWeights",
        "ScalarScales",
        "ScaleOutputs",
        "SharedWeights",
        "ShiftNegativeCorrection",
        "ShortNames",
        "SignedActivations",
        "SinkLayout",
        "SpellSwish",
        "SplitBranches",
        "SplitClips",
        "UnsignedActivations",
        "UnsignedMatrices",
        "WholeResizes",
        "WideActivations",
        "WideMaxima",
    ]
    assert all(getattr(passes, name) for name in passes.__all__)
