"""What the tests of the product share."""

import numpy as np
import onnx
import pytest

from zqc.cli import main

FLOAT = """<ir_version: 8, opset_import: ["" : 13]>
net ({dtype}[{sizes}] {name}) => (float[N,8,H,W] y) {{
    [conv] c = Conv<pads = [1,1,1,1]>({name}, w)
    [relu] y = Relu(c)
}}"""
QUANTIZED = """<ir_version: 8, opset_import: ["" : 13]>
net (float[N,3,H,W] x) => (float[N,8,H,W] y)
    <float s = {0.01}, uint8 z = {0}, int8 wz = {0}> {
    [enter] q = QuantizeLinear(x, s, z)
    [conv] c = QLinearConv<pads = [1,1,1,1]>(q, s, z, w, s, wz, s, z)
    [leave] y = DequantizeLinear(c, s, z)
}"""


@pytest.fixture
def zqc(capsys):
    """Run a command and return its exit code, its standard output and its standard error."""

    def run(*arguments):
        capsys.readouterr()
        code = main.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def write(tmp_path, rng):
    """Write a model with one convolution of 3 to 8 channels."""
    weights = rng.integers(-100, 100, (8, 3, 3, 3), np.int8)

    def write(name, text, array):
        model = onnx.parser.parse_model(text)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, "w"))
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    def either(name="m.onnx", *, quantized=False, sizes="N,3,H,W", dtype="float", input_name="x"):
        if quantized:
            return write(name, QUANTIZED, weights)
        text = FLOAT.format(sizes=sizes, dtype=dtype, name=input_name)
        return write(name, text, weights.astype(np.float32))

    return either
