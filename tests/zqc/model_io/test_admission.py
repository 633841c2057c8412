"""What the pipeline cannot work on is refused by name, with the remedy."""

import numpy as np
import pytest
from onnx import TensorProto

from tests import nets
from tests.zqc.model_io.helpers import CONV_NORM, IMAGE, load
from zqc.errors import AlreadyQuantizedError, ModelError


@pytest.mark.parametrize(("opset", "word"), [(0, "damaged"), (6, "too old"), (99, "newer")])
def test_load_unknown_opset(opset, word, tmp_path):
    """Opsets outside of what onnx can raise are refused with the remedy."""
    proto = nets.detector()
    proto.opset_import[0].version = opset
    with pytest.raises(ModelError, match=word):
        load(proto, tmp_path)


def test_load_quantized(tmp_path, rng):
    """QuantizeLinear, integer layers and narrow weights show a quantized model, by node."""
    text = f"""{IMAGE} (float[N, 8, 8, 8] y) {{
        {CONV_NORM}
        q = QuantizeLinear (normed, step, zero)
        y = DequantizeLinear (q, step, zero)
    }}"""
    proto = nets.model(text, step=np.float32(0.1), zero=np.uint8(0), **nets.weights())
    proto.graph.node[2].name = "quantize"
    with pytest.raises(AlreadyQuantizedError, match="QuantizeLinear 'quantize'"):
        load(proto, tmp_path)
    text = f"""{IMAGE} (float[N, 8, 8, 8] y) {{
        float_weight = Cast <to = 1> (narrow)
        y = Conv <pads = [1, 1, 1, 1]> (x, float_weight)
    }}"""
    narrow = rng.integers(-8, 8, (8, 3, 3, 3)).astype(np.int8)
    with pytest.raises(AlreadyQuantizedError, match="INT8 weights"):
        load(nets.model(text, narrow=narrow), tmp_path)


def test_load_other_floats(tmp_path):
    """Double precision is refused, in the input and in the parameters."""
    proto = nets.detector()
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    with pytest.raises(ModelError, match="must be float32, float16 or uint8"):
        load(proto, tmp_path)
    text = f"""{IMAGE} (double[N, 8, 8, 8] y) {{
        wide = Cast <to = 11> (x)
        y = Conv <pads = [1, 1, 1, 1]> (wide, weight)
    }}"""
    proto = nets.model(text, weight=nets.weights()["weight"].astype(np.float64))
    with pytest.raises(ModelError, match="parameters of type DOUBLE"):
        load(proto, tmp_path)


def test_load_training_mode(tmp_path):
    """A BatchNormalization that trains would compute something else than the detector."""
    text = f"""{IMAGE} (float[N, 8, 8, 8] y) {{
        conv = Conv <pads = [1, 1, 1, 1]> (x, weight)
        y, m, v = BatchNormalization <training_mode = 1> (conv, scale, bias, mean, variance)
    }}"""
    with pytest.raises(ModelError, match="training mode"):
        load(nets.model(text, opset=15, **nets.weights()), tmp_path)


@pytest.mark.parametrize(
    ("inputs", "word"),
    [
        ("float[N, 3, 8, 8] x, float[N, 3, 8, 8] other", "one image input.*'other'"),
        ("float[N, 8] x", "batch, channels, height, width"),
        ("float[N, 1, 3, 8, 8] x", r"batch, channels, height, width.*\[N, 1, 3, 8, 8\]"),
        ("float[N, C, 8, 8] x", "number of channels"),
        ("int32[N, 3, 8, 8] x", "float32, float16 or uint8"),
    ],
)
def test_load_other_inputs(inputs, word, tmp_path):
    """Anything but one picture is refused with what was found."""
    text = f"net ({inputs}) => (float[N] y) {{ cast = Cast <to = 1> (x) y = Abs (cast) }}"
    if "other" in inputs:
        text = f"net ({inputs}) => (float[N] y) {{ y = Add (x, other) }}"
    with pytest.raises(ModelError, match=word):
        load(nets.model(text), tmp_path)
