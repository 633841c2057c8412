"""What a model says itself about its pictures."""

import numpy as np
import pytest

from tests.passes.helpers import build_model
from zqc.pictures.input_format import InputFormat
from zqc.statistics.stated_format import stated_format

MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
FIRST = {
    "m": MEAN,
    "s": STD,
    "m255": 255 * MEAN,
    "s255": 255 * STD,
    "white": 255.0,
    "step": 1 / 255,
    "two": 2.0,
    "one": 1.0,
    "half": 127.5,
    "odd": 40.0,
    "ones": np.ones(3, np.float32),
    "zeros": np.zeros(3, np.float32),
    "mean": 255 * MEAN.reshape(3),
    "variance": np.square(255 * STD.reshape(3)),
    "eye": (np.eye(3) / 58).reshape(3, 3, 1, 1).astype(np.float32),
    "minus": -2 * np.ones(3, np.float32),
    "mixed": np.ones((3, 3, 1, 1), np.float32),
}


def net(first):
    """A model that begins with some operators."""
    used = {name: array for name, array in FIRST.items() if f"{name})" in first.replace(",", ")")}
    return build_model(
        f"(float[1,3,4,4] x) => (float[1,3,4,4] y) {{ {first} y = Relu(n) }}", **used
    )


@pytest.mark.parametrize(
    ("first", "white"),
    [
        ("n = Div(x,white)", 255),
        ("n = Mul(x,step)", 255),
        ("c = Sub(x,m255) n = Div(c,s255)", 255),
        ("n = Sub(x,m255)", 255),
        ("c = Div(x,half) n = Sub(c,one)", 255),
        ("n = BatchNormalization(x,ones,zeros,mean,variance)", 255),
        ("n = Conv(x,eye,minus)", 255),
        ("c = Sub(x,m) n = Div(c,s)", 1),
        ("c = Mul(x,two) n = Sub(c,one)", 1),
        ("n = Mul(x,white)", 1),
        ("n = Mul(x,odd)", None),
        ("n = Conv(x,mixed)", None),
        ("n = Identity(x)", None),
        ("n = Sigmoid(x)", None),
    ],
)
def test_first_operators(first, white):
    """The range is the one that they bring to a normalised one; what says nothing states none."""
    stated = stated_format(net(first))
    assert stated == (
        None
        if white is None
        else (InputFormat.from_range(0, white), "from the model's first operators")
    )


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"Image.NominalPixelRange": "Normalized_1_1"}, InputFormat.from_range(-1, 1)),
        (
            {"Image.NominalPixelRange": "NominalRange_0_255", "Image.BitmapPixelFormat": "Bgr8"},
            InputFormat.from_range(0, 255, bgr=True),
        ),
        ({"author": "Ultralytics"}, InputFormat.from_range(0, 1)),
        ({"Image.NominalPixelRange": "something"}, None),
    ],
)
def test_metadata(metadata, expected):
    """ONNX has names for the range and the order; Ultralytics has one convention."""
    model = net("n = Sigmoid(x)")
    model.metadata_props.update(metadata)
    stated = stated_format(model)
    assert (stated and stated[0]) == expected


def test_pixels():
    """Nothing else counts where the file takes 8-bit pixels; the order is the given one."""
    form, by = stated_format(net("c = Sub(x,m) n = Div(c,s)"), pixels=True, bgr=True)
    assert form == InputFormat.from_range(0, 255, bgr=True)
    assert "8-bit pixels" in by
