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
    {"cli", "options"},
    {"inspection"},
    {"compiler", "checker"},
    {"quantization"},
    {"synthesis", "calibration", "detection", "report"},
    {"autodiff", "runtime", "model_io"},
    {"onnx_file", "admission", "upgrade", "atomic", "images", "recipe", "progress"},
    {"input_format"},
    {"errors"},
)
FLOOR = {module: height for height, modules in enumerate(reversed(FLOORS)) for module in modules}

LIGHT = {"torch", "onnx", "onnx_ir", "onnxruntime", "onnxsim", "faster_coco_eval", "rich"}
"""What ``zqc --help`` must not wait for; torch must not be imported by the product at all."""


def modules(package):
    """Every module of a package, with what it imports as dotted names."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path, sorted(set(imports(path)))


def imports(path):
    """Dotted names of everything that a file imports, also for type checking only."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            if node.module == "zqc":
                yield from (f"zqc.{alias.name}" for alias in node.names)
            else:
                yield node.module


def imported_at_runtime(path):
    """Dotted names of what a file imports outside of ``if TYPE_CHECKING``."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "zqc":
            yield from (f"zqc.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", sorted((ROOT / "passes").rglob("*.py")), ids=lambda p: p.stem)
def test_passes_stand_alone(path):
    """Passes import numpy, onnx_ir, each other and the standard library: never zqc."""
    allowed = {"numpy", "onnx_ir", "ml_dtypes", "passes"} | sys.stdlib_module_names
    assert {name.split(".")[0] for name in imports(path)} <= allowed


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "zqc").rglob("*.py")),
    ids=lambda p: ".".join(p.relative_to(ROOT).with_suffix("").parts),
)
def test_imports_run_one_way(path):
    """The order is cli → compiler → {synthesis, calibration, …} → {autodiff, runtime, model_io} → passes."""
    _, module, *_ = path.relative_to(ROOT).with_suffix("").parts
    if module == "__init__":
        return
    for name in imported_at_runtime(path):
        if name.startswith("zqc."):
            imported = name.split(".")[1]
            if imported != "__version__":
                assert FLOOR[imported] <= FLOOR[module], f"{module} imports {imported}"


def test_every_module_has_its_floor():
    """A new module is given its place here."""
    found = {
        entry.stem for entry in (ROOT / "zqc").iterdir() if entry.suffix == ".py" or entry.is_dir()
    }
    assert found - {"__init__", "__pycache__"} == set(FLOOR)


@pytest.mark.parametrize("package", ["zqc", "passes"])
def test_no_training_framework(package):
    """The product never imports PyTorch, and tools and tests stay outside of it."""
    for path, names in modules(package):
        roots = {name.split(".")[0] for name in names}
        assert not roots & {"torch", "torchvision", "tools", "tests"}, path


def test_sessions_are_made_in_one_place():
    """Only runtime imports ONNX Runtime."""
    users = [path.name for path, names in modules("zqc") if "onnxruntime" in names]
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
        "CheckResult",
        "CompileResult",
        "InputFormat",
        "Recipe",
        "SynthesisResult",
        "ZqcError",
        "__version__",
        "check",
        "compile",
        "synthesize",
    ]
    assert all(getattr(zqc, name) for name in zqc.__all__)
    with pytest.raises(AttributeError, match="quantise"):
        zqc.quantise  # noqa: B018 - looking it up is the test


def test_public_names_of_passes():
    """The passes that may be used on their own."""
    assert sorted(passes.__all__) == [
        "BatchNormToConv",
        "CanonicalActivations",
        "DerivedBiasScales",
        "FoldArithmetic",
        "FoldBatchNorm",
        "Int4WeightsByCast",
        "IntegerClips",
        "QuantizeActivations",
        "QuantizeWeights",
        "ShortNames",
        "UnsignedActivations",
    ]
    assert all(getattr(passes, name) for name in passes.__all__)
