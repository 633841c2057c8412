"""A small detector, what it becomes quantized, and ways to break that on purpose."""

from functools import cache

import numpy as np
import onnx_ir as ir

from passes.analysis.topology import weighted_layers
from passes.graph import Namer, add_initializer
from passes.qdq import pair_of
from tests import nets
from tests.calibration import plan_of
from zqc import pipeline
from zqc.commands.sensitivity_job import Job
from zqc.detection.parts import output_parts
from zqc.diagnosis.effects import Bench
from zqc.diagnosis.layerwise import Subject
from zqc.model_io import model_file
from zqc.pictures.batches import Batches
from zqc.pictures.images import ImageSet
from zqc.pictures.input_format import InputFormat
from zqc.progress import Silent
from zqc.recipe.recipe import Recipe

NET = """
net (float[N, 3, 16, 16] images) => (float[N, 4, 16] boxes, float[N, 3, 4, 4] scores) {
    c1 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (images, w1, b1)
    r1 = Relu (c1)
    c2 = Conv <pads = [1, 1, 1, 1], group = 8> (r1, w2, b2)
    s2 = Sigmoid (c2)
    a2 = Mul (c2, s2)
    c3 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (a2, w3, b3)
    r3 = Relu (c3)
    c4 = Conv (r3, w4, b4)
    joined = Add (r3, c4)
    box_logits = Conv (joined, w5, b5)
    pixels = Mul (box_logits, stride)
    boxes = Reshape (pixels, flat)
    score_logits = Conv (joined, w6, b6)
    scores = Sigmoid (score_logits)
}
"""
LAYERS = ("stem", "depthwise", "deep", "shortcut", "box_head", "score_head")
RANGE = InputFormat((0.0,), (1.0,))


def proto(seed=0):
    """Six layers with names: a depthwise one with SiLU, a residual sum, and two heads."""
    rng = np.random.default_rng(seed)
    shapes = [(8, 3, 3, 3), (8, 1, 3, 3), (16, 8, 3, 3), (16, 16, 1, 1), (4, 16, 1, 1)]
    shapes.append((3, 16, 1, 1))
    arrays = {}
    for index, shape in enumerate(shapes, start=1):
        spread = 1.5 / np.sqrt(np.prod(shape[1:]))
        arrays[f"w{index}"] = rng.normal(0, spread, shape).astype(np.float32)
        arrays[f"b{index}"] = rng.normal(0, 0.2, shape[0]).astype(np.float32)
    made = nets.model(NET, stride=np.float32(8), flat=np.array([0, 4, 16]), **arrays)
    convolutions = [node for node in made.graph.node if node.op_type == "Conv"]
    for node, name in zip(convolutions, LAYERS, strict=True):
        node.name = name
    return made


def tensors(count=4, seed=1):
    """Input tensors."""
    return np.random.default_rng(seed).uniform(0, 1, (count, 3, 16, 16)).astype(np.float32)


@cache
def quantized(**options):
    """The plan, and what the pipeline makes of the net; nobody may change it.

    Weights have uniform levels: what looks others up is large beside so small a net.
    """
    options = {"weight_levels": "uniform"} | options
    plan = plan_of(Recipe(input_format=RANGE, uniform_bits=True, **options))
    loaded = model_file.load(proto())
    prepared, plan = pipeline.begin(loaded, plan)
    batches = Batches.of(ImageSet.of_tensors(tensors(), "noise"), prepared)
    outcome = pipeline.run(
        loaded, prepared, (), batches, plan, metadata={}, progress=Silent(), keep_moments=True
    )
    return loaded, plan, outcome


@cache
def subject(**options):
    """What variants are made of, and what they are evaluated on."""
    loaded, plan, outcome = quantized(**options)
    found = Subject.of(outcome.candidate, outcome.written.quantized, plan)
    parts = output_parts(loaded.model)
    return found, Bench.of(outcome.candidate.model, [tensors()], parts, threads=1)


def job_of(**options):
    """What ``zqc sensitivity`` evaluates of the net."""
    loaded, plan, outcome = quantized(**options)
    found, bench = subject(**options)
    batches = Batches.of(ImageSet.of_tensors(tensors(), "noise"), outcome.candidate.model)
    return Job(loaded, plan, batches, outcome, found, bench)


def canonical(**options):
    """The canonical quantized model, to be changed."""
    return quantized(**options)[2].written.quantized.clone()


def scaled_weight(model, layer, factor):
    """The model with another scale of one layer's weights."""
    node = _layer(model, layer)
    _scale(model.graph, [node.inputs[1].producer()], factor)
    return model


def scaled_output(model, layer, factor):
    """The model with another scale of what one layer puts out, where it is quantized first."""
    value = _layer(model, layer).outputs[0]
    while not any(use.node.op_type == "QuantizeLinear" for use in value.uses()):
        (use,) = value.uses()
        value = use.node.outputs[0]
    quantizer = next(u.node for u in value.uses() if u.node.op_type == "QuantizeLinear")
    readers = [use.node for use in quantizer.outputs[0].uses()]
    _scale(model.graph, [quantizer, *readers], factor)
    return model


def permuted(model, layer):
    """The model with the output channels of one layer in reverse order."""
    node = _layer(model, layer)
    name = Namer(model.graph)
    for index in (1, 2):
        source = node.inputs[index].producer()
        for place in (0, 1):
            tensor = source.inputs[place].const_value
            turned = ir.tensor(np.ascontiguousarray(tensor.numpy()[::-1]), dtype=tensor.dtype)
            new = add_initializer(model.graph, name("turned"), turned)
            source.replace_input_with(place, new)
    return model


def swapped_outputs(model):
    """The model with the two boxes' halves swapped behind the last layers."""
    (box,) = (value for value in model.graph.outputs if value.name == "boxes")
    node = box.producer()
    name = Namer(model.graph)
    order = add_initializer(model.graph, name("order"), np.array([2, 3, 0, 1], np.int64))
    gather = ir.node("Gather", [node.inputs[0], order], attributes={"axis": 1}, name="turn")
    gather.outputs[0].name, gather.outputs[0].type = "turned", box.type
    model.graph.insert_before(node, gather)
    node.replace_input_with(0, gather.outputs[0])
    return model


def joined_outputs(model, step):
    """The model with the boxes on a grid of their own behind the last layers."""
    (box,) = (value for value in model.graph.outputs if value.name == "boxes")
    node = box.producer()
    name = Namer(model.graph)
    scale = add_initializer(model.graph, name("coarse"), np.array(step, np.float32))
    zero = add_initializer(model.graph, name("middle"), np.array(128, np.uint8))
    quantizer, dequantizer = pair_of(node.inputs[0], scale, zero, name)
    model.graph.insert_before(node, [quantizer, dequantizer])
    node.replace_input_with(0, dequantizer.outputs[0])
    return model


def _layer(model, name):
    return next(node for node in weighted_layers(model.graph) if node.name == name)


def _scale(graph, nodes, factor):
    name = Namer(graph)
    for node in nodes:
        wrong = node.inputs[1].const_value.numpy() * np.float32(factor)
        new = add_initializer(graph, name("wrong_scale"), np.asarray(wrong, np.float32))
        node.replace_input_with(1, new)
