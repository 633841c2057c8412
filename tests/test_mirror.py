"""Every test stands where its source does, and every source has a test.

``zqc/recipe/toml.py`` is tested in ``tests/zqc/recipe/test_toml.py``, and what would make that file
too long in ``test_toml_….py`` beside it. A package may be tested as a whole: ``test_rules.py``
tests all of ``rules/``.
"""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("passes", "zqc", "tools")

CROSS_CUTTING = {
    "passes/test_properties.py": "what holds of all passes together, on random networks",
    "tools/test_usage.py": "how all tools are started",
    "zqc/targets/test_compile.py": "a whole compilation for each target",
    "zqc/targets/test_docs.py": "the worked example of docs/targets.md",
    "zqc/targets/test_guarantees.py": "the sentences that all targets guarantee",
}
"""Tests without a source, and what they are about."""

ELSEWHERE = {
    "passes/canonicalize/phase_layers.py": "by test_sink_layout.py, the one pass that uses it",
    "tools/compare/opencv_runner.py": "runs where OpenCV is installed",
    "tools/compare/openvino_runner.py": "runs where OpenVINO is installed",
    "tools/compare/version_runner.py": "by test_versions.py, which runs it",
    "tools/compare/peers/runners": "run where the peers are installed",
    "tools/example/exporting.py": "checks each file that it writes against PyTorch",
    "tools/example/photographs.py": "reads packages that only the example is made from",
    "tools/example/thermal_model.py": "a training of minutes; tools.study.infrared judges it",
    "tools/example/training.py": "a training of minutes; tools.example.train evaluate judges it",
    "tools/zoo/exports.py": "runs where the packages of the zoo are; tools.zoo.table judges it",
    "tools/zoo/running.py": "the command line in a process; tools.zoo.table reads what it says",
    "tools/zoo/training.py": "a training of minutes; tools.zoo.table judges it",
    "zqc/model_io/preparation.py": "by test_model_file.py, test_admission.py and test_upgrade.py",
    "zqc/model_io/worker.py": "by test_child.py, whose child processes run it",
    "zqc/autodiff/context.py": "by test_rules.py: it is what every rule sees of its node",
}
"""Sources, or folders of them, without a test of their own, and where they are tested."""


def python(folder):
    """All modules below a folder, by their path in it."""
    found = [path.relative_to(folder) for path in folder.rglob("*.py")]
    return sorted(path for path in found if path.parts[0] in PACKAGES)


SOURCES = [path for path in python(ROOT) if path.name != "__init__.py"]
TESTS = [path for path in python(ROOT / "tests") if path.name.startswith("test_")]

BY_PLACE = defaultdict(list)
"""The sources at every place: a module, or a folder and all that is below it."""
for source in SOURCES:
    for place in (source.with_suffix(""), *source.parents):
        BY_PLACE[place].append(source)


def subjects(test):
    """The sources that a test may be about by its place and name; an aspect may end its name."""
    words = test.stem.removeprefix("test_").split("_")
    for length in range(len(words), 0, -1):
        place = test.with_name("_".join(words[:length]))
        if place in BY_PLACE:
            return BY_PLACE[place]
    return []


def does_something(source):
    """Whether a module has a public function, or a public class with a method."""
    body = ast.parse((ROOT / source).read_text(encoding="utf-8")).body
    classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
    nodes = [*body, *(node for one in classes for node in one.body)]
    return any(isinstance(node, ast.FunctionDef) and node.name[0] != "_" for node in nodes)


def is_started(source):
    """Whether a module is a tool with a command line: test_usage.py holds that it answers."""
    text = (ROOT / source).read_text(encoding="utf-8")
    return source.parts[0] == "tools" and "@click." in text and "def main(" in text


def listed(source):
    """Whether it, or its folder, is in the list of those that are tested elsewhere."""
    return not {source.as_posix(), source.parent.as_posix()}.isdisjoint(ELSEWHERE)


def test_every_test_has_its_source():
    """A test is named after a module at the same place, or is on the short list."""
    homeless = {path.as_posix() for path in TESTS if not subjects(path)}
    assert homeless == set(CROSS_CUTTING)


def test_every_source_has_its_test():
    """What does something has a test named after it, or is said to be tested elsewhere."""
    tested = {source for test in TESTS for source in subjects(test)}
    missing = [s for s in SOURCES if s not in tested and does_something(s) and not is_started(s)]
    assert [path.as_posix() for path in missing if not listed(path)] == []


def test_the_lists_are_short():
    """What has got a test of its own, or is gone, is not on a list any more."""
    tested = {source for test in TESTS for source in subjects(test)}
    for name in ELSEWHERE:
        place = Path(name)
        below = [path for path in SOURCES if path == place or place in path.parents]
        assert below, f"{name} is gone"
        assert set(below) - tested, f"{name} has its test"
