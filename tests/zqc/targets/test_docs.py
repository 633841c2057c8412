"""The worked example of docs/targets.md, installed as another package would be."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.passes.helpers import mixed_model
from zqc import targets
from zqc.model_io import model_file

PAGE = Path(__file__).parents[3] / "docs" / "targets.md"


def block(name):
    """The code that the page has under the name of a file."""
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(rf"<!-- {re.escape(name)} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    return code


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package of the page on the path, with the metadata that pip would write."""
    (tmp_path / "acme_npu.py").write_text(block("acme_npu.py"))
    info = tmp_path / "acme_npu-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-npu\nVersion: 1.0\n")
    group, entry = re.findall(
        r'^\[project\.entry-points\."(.*)"\]\n(.*)$', block("pyproject.toml"), re.M
    )[0]
    name, value = re.fullmatch(r'(\w+) = "(.*)"', entry).groups()
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("acme_npu", None)


def test_it_is_listed(installed, zqc):
    """`zqc targets` shows the target behind zqc's own, with the package that it is from."""
    code, out, _ = zqc("targets", "--json")
    listed = json.loads(out)["targets"]
    assert code == 0
    assert [target["name"] for target in listed] == [*targets.BUILT_IN, "acme"]
    assert listed[-1]["package"] == "acme-npu"
    code, out, _ = zqc("targets")
    assert "the Acme NPU: int8, one scale a tensor (from the package acme-npu)" in out


def test_it_is_exact(installed, rng):
    """The page's own check passes for the lowering of the page."""
    scope = {}
    exec(block("test_acme_npu.py"), scope)
    x = rng.normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    scope["assert_exact"](mixed_model(8, 8), "acme", {"x": x})


def test_a_detector_is_compiled(installed, zqc, detector_file):
    """The result is as the page's sentences say, and the summary says that it runs elsewhere."""
    output = detector_file.with_name("acme.onnx")
    code, out, err = zqc(
        "compile", detector_file, "-o", output, "--target", "acme", "--no-statistics",
        "--samples", "4", "--effort", "quick", "--input-range", "0:1", "--threads", "1",
    )  # fmt: skip
    assert code == 0, err
    assert "for acme" in out
    assert "loaded and compared here, the target's kernels are elsewhere" in out
    assert "Latency          not measured" in out
    model = ir.load(output)
    assert all(re.fullmatch(rf"{n.op_type}_\d+", n.name) for n in model.graph)
    pairs = [n for n in model.graph if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs
    assert all(n.inputs[1].const_value.numpy().shape == () for n in pairs)
    assert model.metadata_props[f"{model_file.METADATA_PREFIX}recipe"].count('target = "acme"') == 1
