"""What the pipeline cannot work on is refused by name, with the remedy."""

import re

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


@pytest.mark.parametrize("name", ["weight", "scale", "bias", "mean", "variance"])
@pytest.mark.parametrize(("number", "word"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_load_parameters_that_are_no_numbers(name, number, word, tmp_path):
    """A parameter that makes every result NaN is named with the node that reads it."""
    arrays = nets.weights()
    arrays[name] = arrays[name].copy()
    arrays[name].flat[1] = number
    text = f"{IMAGE} (float[N, 8, 8, 8] y) {{ {CONV_NORM} y = Relu (normed) }}"
    with pytest.raises(ModelError, match=f"'{name}' of (Conv|BatchNormalization) .* {word}"):
        load(nets.model(text, **arrays), tmp_path)


def test_load_bounds_that_are_no_numbers(tmp_path):
    """Infinity is a bound, and NaN may be what a Where fills in; no bound is NaN."""
    text = f"""{IMAGE} (float[N, 8, 8, 8] y) {{
        {CONV_NORM}
        clipped = Clip (normed, zero, most) positive = Greater (clipped, zero)
        y = Where (positive, clipped, filling)
    }}"""
    numbers = {"zero": np.float32(0), "most": np.float32(np.inf), "filling": np.float32(np.nan)}
    load(nets.model(text, **numbers, **nets.weights()), tmp_path)
    numbers["most"] = np.float32(np.nan)
    with pytest.raises(ModelError, match="'most' of Clip 'clip'"):
        load(nets.model(text, **numbers, **nets.weights()), tmp_path)


def test_load_negative_variance(tmp_path, caplog):
    """What rounding makes negative is told; what no epsilon makes positive is refused."""
    arrays = nets.weights()
    text = f"{IMAGE} (float[N, 8, 8, 8] normed) {{ {CONV_NORM} }}"
    arrays["variance"] = np.full(8, -1e-6, np.float32)
    load(nets.model(text, **arrays), tmp_path)
    assert "BatchNormalization 'batchnormalization' has the variance -1e-06" in caplog.text
    arrays["variance"] = np.full(8, -1e-3, np.float32)
    with pytest.raises(ModelError, match=r"negative even with its epsilon of 0\.0001"):
        load(nets.model(text, **arrays), tmp_path)


FAULTS = {
    "nothing writes": "y = Add (normed, gone)",
    "must be 1 at least": "y = MaxPool <kernel_shape = [1, 1], strides = [0, 1]> (normed)",
    "for [4, 8] channels": "y = BatchNormalization (normed, scale, bias, mean, short)",
    "has the attribute 'order'": "y = Transpose <order = [0, 1, 2, 3]> (normed)",
}


@pytest.mark.parametrize("word", FAULTS)
def test_load_contradictions(word, tmp_path):
    """What the C++ of others dies of, or refuses after all the work, is refused by name at once."""
    text = f"{IMAGE} (float[N, 8, 8, 8] y) {{ {CONV_NORM} {FAULTS[word]} }}"
    short = np.ones(4, np.float32)
    with pytest.raises(ModelError, match=re.escape(word)):
        load(nets.model(text, short=short, **nets.weights()), tmp_path)
