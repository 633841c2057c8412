"""How the tools are started."""

import ast
import importlib
import re

import pytest
from click.testing import CliRunner

from tools.paths import ROOT

STARTED = [
    path
    for path in sorted((ROOT / "tools").rglob("*.py"))
    if '\nif __name__ == "__main__":\n' in path.read_text(encoding="utf-8")
]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in STARTED
    if re.search(r"^import click$| = study\(", path.read_text(encoding="utf-8"), re.MULTILINE)
]
"""Those for people; the rest are runners, which run in environments without this checkout."""


def test_there_are_some():
    """Both kinds are found: tools for people, and runners."""
    assert {"tools.study.stages", "tools.study.equalized_forms"} <= set(MODULES)
    assert "version_runner.py" in {path.name for path in STARTED}


@pytest.mark.parametrize("name", MODULES)
def test_a_tool_says_how_it_is_started(name):
    """Its docstring has a line that names the module itself."""
    text = ast.get_docstring(ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text()))
    assert f"python -m {name} " in text
    assert "python tools/" not in text


@pytest.mark.parametrize("name", MODULES)
def test_a_tool_answers(name):
    """With ``--help`` it tells its options, where what it imports is installed."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] in ("tools", "zqc", "passes"):
            raise
        pytest.skip(f"{error.name} is not installed")
    result = CliRunner().invoke(module.main, ["--help"])
    assert result.exit_code == 0, result.output
    assert "--help" in result.output


def test_a_runner_needs_nothing_of_the_checkout():
    """Runners import each other as scripts do, and neither zqc nor its tools."""
    runners = {path for path in STARTED if "runner" in str(path.relative_to(ROOT))}
    for path in {*runners, ROOT / "tools" / "compare" / "peers" / "runners" / "common.py"}:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"tools", "zqc", "passes"}, path
