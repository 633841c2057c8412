"""What the mutations begin with: small sound models, and small sound files of every other kind."""

import io
import json
from functools import cache

import numpy as np
import onnx_ir as ir
import torch
from onnx import helper
from PIL import Image

from tests import nets
from tests.passes.random_networks import ACTIVATIONS, BLOCKS, HEADS, Plan, network

NORMED = """conv = Conv <pads = [1, 1, 1, 1]> (x, weight)
    normed = BatchNormalization <epsilon = 0.0001> (conv, scale, bias, mean, variance)"""
IMAGE = "net (float[N, 3, 8, 8] x) =>"


@cache
def models():
    """The models: networks of every block, every opset that is read, and every kind of graph."""
    return [*_detectors(), *_networks(), *_graphs()]


def _detectors():
    return [nets.detector(opset=opset) for opset in (9, 11, 13, 17, 21)]


def _networks():
    blocks, functions, heads = list(BLOCKS), list(ACTIVATIONS), list(HEADS)
    for index in range(len(functions)):
        first, second = (blocks[(2 * index + k) % len(blocks)] for k in range(2))
        function = functions[index]
        plan = Plan(
            index, [(first, function), (second, "relu")], (heads[index % len(heads)], function)
        )
        yield ir.to_proto(network(plan)[0])


def _graphs():
    arrays = nets.weights()
    yield nets.model(f"{IMAGE} (float[N, 8, 8, 8] y) {{ {NORMED} y = Relu (normed) }}", **arrays)
    yield nets.model(
        f"""net (uint8[N, 8, 8, 3] pixels) => (float[N, 8, 8, 8] y) {{
            turned = Transpose <perm = [0, 3, 1, 2]> (pixels) x = Cast <to = 1> (turned)
            {NORMED} y = Relu (normed) }}""",
        **arrays,
    )
    yield nets.model(
        f"""{IMAGE} (float[N, 8, 8, 8] y) {{ {NORMED}
            least = ReduceMin <keepdims = 0> (normed) yes = Greater (least, zero)
            y = If (yes) <
                then_branch = one () => (float[a, b, c, d] p) {{ p = Relu (normed) }},
                else_branch = two () => (float[a, b, c, d] q) {{ q = Sigmoid (normed) }}
            > }}""",
        zero=np.float32(0),
        **arrays,
    )
    yield nets.model(
        f"""{IMAGE} (float[N, 8, 8, 8] y) {{ {NORMED}
            y = Loop (rounds, yes, normed) <body = round
                (int64 i, bool go, float[a, b, c, d] was) => (bool on, float[e, f, g, h] now) {{
                    on = Identity (go) now = Relu (was) }}> }}""",
        rounds=np.array(3),
        yes=np.array(True),
        **arrays,
    )
    yield nets.model(
        f"""net (float[N, 3, 8, 8] x, float[N, 2] scale_factor) => (float[N, 8, 16, 16] y) {{
            {NORMED} sizes = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()
            large = Resize <mode = "linear"> (normed, , sizes)
            rows = Constant <value_ints = [-1, 2, 1, 1]> () s = Reshape (scale_factor, rows)
            middle = ReduceMean <axes = [1], keepdims = 1> (s) y = Mul (large, middle) }}""",
        **arrays,
    )
    yield _with_function(arrays)
    yield _quantized()


def _with_function(arrays):
    model = nets.model(f"{IMAGE} (float[N, 8, 8, 8] y) {{ {NORMED} }}", **arrays)
    model.graph.node.append(helper.make_node("act", ["normed"], ["y"], domain="local"))
    body = [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["b"])]
    opsets = [helper.make_opsetid("", 13)]
    model.functions.append(helper.make_function("local", "act", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))
    return model


def _quantized():
    weights = np.random.default_rng(0).integers(-100, 100, (8, 3, 3, 3), np.int8)
    return nets.model(
        f"""{IMAGE} (float[N, 8, 8, 8] y) {{
            q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)
            f = DequantizeLinear (w, s, wz) y = Conv <pads = [1, 1, 1, 1]> (d, f) }}""",
        s=np.float32(0.01),
        z=np.uint8(0),
        wz=np.int8(0),
        w=weights,
    )


RECIPE = """preset = "hptq"
bits = 4
seed = 3
input_range = [-1, 1]
bgr = true
inputs = { scale_factor = [1, 1] }
bits_of = { "/stem/*" = 8 }
keep_float = ["a", "b*"]
"""

DESCRIPTION = """boxes = "pred_boxes"
scores = "pred_scores"
box_format = "cxcywh"
units = "relative"
activation = "softmax"
background = -1
classes = ["cat", "dog"]
"""

YAML = """path: .
val: images
names: {0: cat, 1: dog}
kpt_shape: [2, 3]
"""

VOC = """<annotation><filename>a.jpg</filename><size><width>20</width></size>
<object><name>dog</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>
<xmax>10</xmax><ymax>11.5</ymax></bndbox></object></annotation>
"""

YOLO = "0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.2 0.1 0.3 0.3 0.1 0.3\n"

COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b/b.jpg"}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3.5, 4], "iscrowd": 0},
            {
                "id": 2,
                "image_id": 2,
                "category_id": 1,
                "bbox": [0, 0, 9, 9],
                "area": 40.5,
                "segmentation": [[0, 0, 9, 0, 9, 9]],
                "keypoints": [1, 2, 2, 3, 4, 1],
            },
        ],
    }
)

CARD = json.dumps(
    {
        "format": "zqc statistics card",
        "version": 1,
        "zqc": "0.1.0",
        "pictures": 64,
        "input_shape": [3, 16, 16],
        "input": {"low": [0.0], "high": [1.0], "bgr": False},
        "layers": [
            {
                "output": "stem",
                "operator": "Conv",
                "shape": [2, 3, 3, 3],
                "weights": [1.0, 0.5, 0.25],
                "bias": [0.0, 0.0, 0.0],
                "range": [-3.0, 4.0],
                "mean": [0.1, -0.2],
                "variance": [1.0, 2.0],
            }
        ],
    }
)


def npz():
    """An archive of tensors."""
    file = io.BytesIO()
    tensors = np.random.default_rng(0).uniform(size=(2, 3, 8, 8)).astype(np.float32)
    np.savez_compressed(file, images=tensors, synthesised=np.ones(2, bool))
    return file.getvalue()


def npy(kind=np.float32, shape=(5, 4)):
    """An array."""
    file = io.BytesIO()
    np.save(file, np.random.default_rng(0).uniform(1, 9, shape).astype(kind))
    return file.getvalue()


def checkpoint(*, legacy=False):
    """Weights as PyTorch saves them, in an archive or as it did before."""
    file = io.BytesIO()
    layer = torch.nn.BatchNorm2d(4)
    content = {"state_dict": layer.state_dict(), "epoch": 3, "names": ["a", "b"]}
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


DARKNET = """[net]
width=32
height=32
channels=3
[convolutional]
batch_normalize=1
filters=4
size=3
stride=1
pad=1
activation=leaky
[maxpool]
size=2
[convolutional]
batch_normalize=1
filters=4
size=3
groups=2
[shortcut]
from=-2
[route]
layers=-1, 0
[reorg]
stride=2
[route]
layers=-2
groups=2
group_id=1
[convolutional]
filters=5
size=1
[yolo]
mask=0,1
"""
"""A network whose numbers are ``DARKNET_NUMBERS``."""

DARKNET_NUMBERS = (4 * 4 + 4 * 27) + (4 * 4 + 4 * 18) + (5 + 5 * 4)


def darknet(numbers=DARKNET_NUMBERS):
    """Weights of Darknet, so many."""
    head = np.array([0, 2, 5, 32, 0], "<i4").tobytes()
    return head + np.linspace(0.1, 1, numbers, dtype="<f4").tobytes()


def picture(kind, mode="RGB"):
    """A picture in a format of Pillow."""
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    more = {"exif": exif} if kind in ("JPEG", "PNG", "TIFF", "WEBP") else {}
    Image.fromarray(pixels).convert(mode).save(file, kind, **more)
    return file.getvalue()
