"""What the outputs of the networks mean."""

import numpy as np
import onnx_ir as ir

from tests.passes.helpers import build_model, run_model
from tools.zoo.decoding import convention_of


def read(folder, scores):
    """How the outputs of a network with queries are read from its file."""
    model = build_model(
        f"""(float[1,4,3] x) => (float[n,q,c] logits, float[n,q,b] pred_boxes) {{
            raw = MatMul(x, w)
            logits = {scores}(raw)
            box = MatMul(x, v)
            pred_boxes = Sigmoid(box)
        }}""",
        w=np.ones((3, 6), np.float32),
        v=np.ones((3, 4), np.float32),
    )
    ir.save(model, folder / "model.onnx")
    outputs = run_model(model, x=np.zeros((1, 4, 3), np.float32))
    return convention_of(folder / "model.onnx", outputs, 100), outputs


def test_a_file_is_read_as_zqc_reads_it(tmp_path):
    """Its graph is looked at, and what its outputs hold is decoded."""
    convention, outputs = read(tmp_path, "Identity")
    assert convention is not None
    assert (convention.name, convention.classes) == ("detr", 5)
    [found] = convention.decode(outputs)
    assert found.boxes[0].tolist() == [25, 25, 75, 75]


def test_what_zqc_does_not_know_is_not_read(tmp_path):
    """Nothing is made up for the table."""
    assert read(tmp_path, "Relu")[0] is None
