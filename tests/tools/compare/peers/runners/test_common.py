"""What the runners share, in this environment."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import parser
from onnxruntime import InferenceSession

from passes.analysis.topology import first_layers, last_layers, post_processing
from tests import nets
from tools.compare.peers.runners import common
from tools.paths import DETECTOR


def test_edges_of_the_example_are_those_of_the_compiler():
    """What peers get at 8 bits is what zqc keeps at 8 bits; both leave the DFL in float."""
    graph = ir.load(DETECTOR).graph
    expected = {node.name for node in (*first_layers(graph), *last_layers(graph))}
    found = {node.name for node in common.edges(onnx.load(DETECTOR))}
    assert len(found) == 7
    assert found == expected


def test_post_processing_of_a_net_is_that_of_the_passes():
    """Without an expectation the rule is that of ``passes.analysis.topology``."""
    model = nets.detector()
    for number, node in enumerate(model.graph.node):
        node.name = f"node{number}"
    expected = {node.name for node in post_processing(ir.from_proto(model).graph)}
    assert expected
    assert set(common.post_processing(model)) == expected


def test_an_expectation_belongs_to_the_post_processing():
    """What lies between the last trained layer and a DFL is left in float, too."""
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1,4,2,2] x) => (float[1,1,2,2] y)
        <float[4,4,1,1] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, float[1,4,1,1] bins = {0,1,2,3}>
        {
            [conv] a = Conv (x, w)
            [softmax] p = Softmax <axis = 1> (a)
            [dfl] e = Conv (p, bins)
            [relu] y = Relu (e)
        }"""
    )
    assert common.post_processing(model) == ["softmax", "dfl", "relu"]
    assert [node.name for node in common.edges(model)] == ["conv"]


def test_what_no_picture_reaches_is_constant():
    """The factors of a Resize are put together from constants; what is resized is not."""
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1,1,2,2] x) => (float[1,1,4,4] y) <float[2] one = {1, 1}, float[2] two = {2, 2}>
        {
            [factors] f = Concat <axis = 0> (one, two)
            [resize] y = Resize (x, , f)
        }"""
    )
    assert common.constant(model) == ["factors"]


def test_wide_activations_are_at_the_edges_and_inside_of_silu():
    """The first layer's input and output behind its SiLU, x and σ(x), the last layer's input."""
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1,1,2,2] x) => (float[1,1,2,2] z) <float[1,1,1,1] w = {1}>
        {
            [first] a = Conv (x, w)
            [gate] s = Sigmoid (a)
            [silu] b = Mul (s, a)
            [middle] c = Conv (b, w)
            [gate2] t = Sigmoid (c)
            [silu2] d = Mul (c, t)
            [between] e = Conv (d, w)
            [attention] u = Sigmoid (e)
            [scaled] f = Mul (u, b)
            [last] y = Conv (f, w)
            [scores] z = Sigmoid (y)
        }"""
    )
    assert common.wide_activations(model) == set("xasbctfy")


def test_activations_kept_in_bytes_have_the_same_values():
    """Codes of 4 bits and of 8 bits behind a Clip stand for the same values; weights stay."""
    model = parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[1,1,1,64] x) => (float[1,1,1,64] y, float[2] z)
        <float s = {0.37}>
        {
            q = QuantizeLinear (x, s, p)
            y = DequantizeLinear (q, s, p)
            z = DequantizeLinear (w, s)
        }"""
    )
    uint4 = onnx.TensorProto.UINT4
    model.graph.initializer.append(onnx.helper.make_tensor("p", uint4, [], [3]))
    model.graph.initializer.append(onnx.helper.make_tensor("w", uint4, [2], [1, 15]))
    feeds = {"x": np.linspace(-3, 6, 64, dtype=np.float32).reshape(1, 1, 1, 64)}
    before = InferenceSession(model.SerializeToString()).run(None, feeds)
    common.keep_in_bytes(model)
    after = InferenceSession(model.SerializeToString()).run(None, feeds)
    assert len(np.unique(before[0])) == 16
    assert [a.tolist() for a in after] == [b.tolist() for b in before]
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert (kinds["p"], kinds["w"]) == (onnx.TensorProto.UINT8, uint4)


def test_batches_hold_the_pictures_in_order_where_the_batch_is_free():
    """Pictures are joined for a free batch only."""
    feeds = [{"images": np.full((1, 3, 2, 2), n)} for n in range(5)]
    model = onnx.load(DETECTOR)
    sizes = [batch["images"][:, 0, 0, 0].tolist() for batch in common.batched(model, feeds, 2)]
    assert sizes == [[0, 1], [2, 3], [4]]
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    assert common.batched(model, feeds, 2) is feeds


def test_a_runner_gets_model_pictures_and_config(tmp_path):
    """The protocol between the tool and a runner: arguments in, seconds in the last line out."""
    np.savez(tmp_path / "pictures.npz", images=np.arange(2, dtype=np.float32).reshape(2, 1, 1, 1))
    runner = tmp_path / "run_it.py"
    runner.write_text(
        "import common\n"
        "def quantize(model, feeds, output, config):\n"
        "    reader = common.Reader(feeds)\n"
        "    read = [float(reader.get_next()['images'].sum()) for _ in feeds]\n"
        "    print('noise')\n"
        "    output.write_text(f'{model.name} {read} {reader.get_next()} {config}')\n"
        "common.run(quantize)\n"
    )
    paths = [str(tmp_path / name) for name in ("m.onnx", "pictures.npz", "out.onnx")]
    done = subprocess.run(
        [sys.executable, runner, *paths, '{"a": 1}'],
        env={"PYTHONPATH": str(Path(common.__file__).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tmp_path / "out.onnx").read_text() == "m.onnx [0.0, 1.0] None {'a': 1}"
    assert 0 <= json.loads(done.stdout.splitlines()[-1])["seconds"] < 10
