"""Files of Darknet, written from a model."""

import struct

import numpy as np
import onnx
from onnx import numpy_helper

TINY = """[net]
channels=3
""" + "".join(
    f"[convolutional]\nbatch_normalize=1\nfilters={16 << i}\nsize=3\n[maxpool]\n" for i in range(6)
)
TINY += """[convolutional]
batch_normalize=1
filters=1024
size=3
[convolutional]
batch_normalize=1
filters=256
size=1
[convolutional]
batch_normalize=1
filters=512
size=3
[convolutional]
filters=255
[yolo]
[route]
layers=-4
[convolutional]
batch_normalize=1
filters=128
[upsample]
[route]
layers=-1,8
[convolutional]
batch_normalize=1
filters=256
size=3
[convolutional]
filters=255
[yolo]
"""
"""YOLOv3-tiny, as far as its weights go."""


def write(model: onnx.ModelProto, path, cfg):
    """Write the Convs of a model in graph order, each with the BatchNormalization behind it."""
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    norms = {n.input[0]: n for n in model.graph.node if n.op_type == "BatchNormalization"}
    numbers = []
    for node in model.graph.node:
        if node.op_type == "Conv":
            norm = norms.get(node.output[0])
            if norm is None:
                names = [node.input[2]]
            else:
                scale, bias, mean, variance = norm.input[1:]
                names = [bias, scale, mean, variance]
            numbers += [arrays[name].reshape(-1) for name in (*names, node.input[1])]
    head = struct.pack("<3iq", 0, 2, 0, 0)
    path.write_bytes(head + np.concatenate(numbers).astype("<f4").tobytes())
    path.with_suffix(".cfg").write_text(cfg)
