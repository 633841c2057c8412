"""Writing the detector as ONNX with its BatchNormalization nodes kept, and reading it back."""

import io
from pathlib import Path

import click
import numpy as np
import onnx
import onnx_ir
import onnxruntime
import torch
from onnx import numpy_helper
from onnx_ir import passes
from onnx_ir.passes import common
from torch import nn

from tools.example.network import Detector
from tools.example.scenes import NAMES, SIZE
from tools.example.store import write_atomically

OPSET = 17
DESCRIPTION = "Fashion-MNIST objects on photographs: the example detector of zqc"
TOLERANCE = 1e-4  # of the larger of 1 and the value: boxes in pixels, scores in [0, 1]


def load(source: Path) -> Detector:
    """The network with the weights and statistics of a file that `export` wrote."""
    if not source.is_file():
        raise click.ClickException(f"{source} is missing")
    weights = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in onnx.load(source).graph.initializer
    }
    model = Detector()
    state = model.state_dict()
    lacking = [n for n in state if n not in weights and not n.endswith("num_batches_tracked")]
    if lacking:
        raise click.ClickException(f"{source} lacks {lacking[0]}: it is no file of `export`")
    model.load_state_dict({name: weights.get(name, value) for name, value in state.items()})
    return model.eval()


def export(model: Detector, target: Path, *, description: str = DESCRIPTION) -> None:
    """Write `model`, in evaluation mode, after checking it against PyTorch."""
    file = io.BytesIO()
    torch.onnx.export(
        model,
        (torch.zeros(2, 3, SIZE, SIZE),),
        file,
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        opset_version=OPSET,
        input_names=["images"],
        output_names=["output0"],
        dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}},
    )
    written = _tidy(
        onnx.load_model_from_string(file.getvalue()), (4 + model.classes, model.anchors)
    )
    written.producer_name = "zqc example"
    for key, value in (
        ("description", description),
        ("license", "Apache-2.0"),
        ("stride", "32"),
        ("task", "detect"),
        ("imgsz", f"[{SIZE}, {SIZE}]"),
        ("names", repr(dict(enumerate(NAMES)))),
    ):
        written.metadata_props.add(key=key, value=value)
    _check(written, model)
    write_atomically(target, written.SerializeToString(deterministic=True))


def _tidy(model: onnx.ModelProto, outputs: tuple[int, int]) -> onnx.ModelProto:
    steps = passes.Sequential(
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
    )
    tidied = onnx_ir.from_proto(model)
    tidied.graph.outputs[0].shape = onnx_ir.Shape(("batch", *outputs))
    return onnx_ir.to_proto(steps(tidied).model)


def _check(written: onnx.ModelProto, model: Detector) -> None:
    onnx.checker.check_model(written, full_check=True)
    layers = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    nodes = sum(node.op_type == "BatchNormalization" for node in written.graph.node)
    if nodes != layers:
        raise click.ClickException(f"{nodes} BatchNormalization nodes for {layers} layers")
    images = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(
        written.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"images": images.numpy()})[0]
    with torch.no_grad():
        expected = model(images).numpy()
    difference = (np.abs(found - expected) / np.maximum(1, np.abs(expected))).max()
    if difference > TOLERANCE:
        raise click.ClickException(f"ONNX Runtime and PyTorch differ by {difference:.2g}")
