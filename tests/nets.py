"""A few small networks, as ONNX text, for tests of the border and of the command line."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

NORM = ("scale", "bias", "mean", "variance")

DETECTOR = """
net (float[{batch}, {channels}, {height}, {width}] images) => (float[{batch}, 6, cells] output) {{
    stem = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (images, stem_weight)
    normed = BatchNormalization <epsilon = 0.001> (stem, scale, bias, mean, variance)
    features = Relu (normed)
    boxes = Conv (features, box_weight)
    flat_boxes = Reshape (boxes, flat)
    pixels = Mul (flat_boxes, stride)
    scores = Conv (features, score_weight)
    flat_scores = Reshape (scores, flat)
    probabilities = Sigmoid (flat_scores)
    output = Concat <axis = 1> (pixels, probabilities)
}}
"""
"""Boxes in pixels and scores in 0…1 in one output, as YOLOv8 has them."""


def model(text, *, opset=13, ir_version=8, domains=(), **arrays):
    """Read the text of a graph and add the arrays as initializers."""
    imports = ", ".join([f'"" : {opset}', *(f'"{name}" : 1' for name in domains)])
    proto = onnx.parser.parse_model(f"<ir_version: {ir_version}, opset_import: [{imports}]> {text}")
    for name, array in arrays.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return proto


def weights(seed=0, channels=8):
    """The parameters of a 3×3 Conv from 3 channels and of the BatchNormalization behind it."""
    rng = np.random.default_rng(seed)
    return {
        "weight": rng.normal(size=(channels, 3, 3, 3)).astype(np.float32),
        "scale": rng.uniform(0.5, 2, channels).astype(np.float32),
        "bias": rng.normal(size=channels).astype(np.float32),
        "mean": rng.normal(size=channels).astype(np.float32),
        "variance": rng.uniform(0.5, 2, channels).astype(np.float32),
    }


def seen_in_training(weight, seed=0):
    """Mean and variance of a convolution's outputs on reddish patchwork with pixels in 0…1."""
    rng = np.random.default_rng(seed)
    colours = rng.normal(0, 0.25, (16, 1, 12, 12)) + rng.normal(0, 0.07, (16, 3, 12, 12))
    colours += np.array([0.5, 0.45, 0.4]).reshape(3, 1, 1)
    pictures = np.clip(np.kron(colours, np.ones((5, 5))), 0, 1)
    pictures = pictures[:, : weight.shape[1]]
    windows = np.lib.stride_tricks.sliding_window_view(pictures, (3, 3), (2, 3))
    outputs = np.einsum("nchwij,ocij->onhw", windows, weight, optimize=True)
    mean, variance = outputs.mean((1, 2, 3)), outputs.var((1, 2, 3))
    return {"mean": mean.astype(np.float32), "variance": variance.astype(np.float32)}


def detector(*, batch="N", channels=3, height=16, width=16, opset=13, seed=0):
    """Return a detector of three convolutions with one BatchNormalization, for pixels in 0…1."""
    rng = np.random.default_rng(seed)
    parameters = weights(seed)
    parameters["weight"] = parameters["weight"][:, :channels]
    parameters |= seen_in_training(parameters["weight"])
    return model(
        DETECTOR.format(batch=batch, channels=channels, height=height, width=width),
        opset=opset,
        stem_weight=parameters["weight"],
        **{name: parameters[name] for name in NORM},
        box_weight=rng.normal(size=(4, 8, 1, 1)).astype(np.float32),
        score_weight=rng.normal(size=(2, 8, 1, 1)).astype(np.float32),
        flat=np.array([0, 0, -1]),
        stride=np.float32(8),
    )


def without_batch_norm():
    """A detector whose BatchNorm was folded by its exporter."""
    proto = detector()
    (norm,) = [n for n in proto.graph.node if n.op_type == "BatchNormalization"]
    norm.op_type = "Identity"
    del norm.input[1:], norm.attribute[:]
    return proto


def without_gradient():
    """A detector with an operator in front of its BatchNorm that nobody differentiates."""
    proto = detector()
    node = proto.graph.node[0]
    node.output[0] = "signed"
    node.name = "stem"
    proto.graph.node.insert(1, onnx.helper.make_node("Det", ["small"], ["det"], name="determinant"))
    proto.graph.node.insert(
        1, onnx.helper.make_node("Slice", ["signed", "zeros", "twos", "last"], ["small"])
    )
    proto.graph.node.insert(3, onnx.helper.make_node("Unsqueeze", ["det", "last"], ["column"]))
    proto.graph.node.insert(4, onnx.helper.make_node("Add", ["signed", "column"], ["stem"]))
    for name, values in {"zeros": [0, 0], "twos": [2, 2], "last": [2, 3]}.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values), name))
    return proto


def initializers_as_inputs(proto):
    """List every initializer among the inputs, too, as IR version 3 asked for."""
    for tensor in proto.graph.initializer:
        proto.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    proto.ir_version = 3
    return proto


def random_norms(rng, indices, variances):
    """γ, β, mean and variance of BatchNorms of six channels, such as g1, b1, m1 and v1."""
    arrays = {}
    for index in indices:
        arrays |= {kind + index: rng.normal(size=6) for kind in "gbm"}
        arrays["v" + index] = rng.uniform(*variances, 6)
    return arrays
