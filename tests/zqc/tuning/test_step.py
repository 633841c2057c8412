"""One step of training as a graph."""

from dataclasses import replace

import numpy as np
import pytest

from tests.zqc.tuning.nets import BITS, GRIDS, networks
from zqc.autodiff.shapes import infer_shapes
from zqc.detection.losses.assignment import Objects, task_aligned
from zqc.detection.losses.candidates import Candidates, Places
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.detection.losses.loss import Gains, goals
from zqc.detection.losses.writing import Pen
from zqc.runtime import session
from zqc.tuning.distillation import Importance
from zqc.tuning.objective import PARTS, Objective
from zqc.tuning.step import BETA2, MOMENTS, SCALARS, graphs, weight_name

torch = pytest.importorskip("torch")
F = torch.nn.functional
WEIGHTS = {"b": np.linspace(1, 2, 8), "d": np.linspace(0.5, 3, 8)}
DEVIATIONS = {"a": 0.5, "c": 0.25, "y": 1.0, "b": 1.0, "d": 1.0}


def built():
    """A float model and the same quantized, the graphs of its training, and a batch."""
    model, quantized, pictures = networks()
    for each in (model, quantized):
        infer_shapes(each)
    found = graphs(model, quantized, BITS, Importance(WEIGHTS, DEVIATIONS))
    return model, quantized, found, pictures[:2]


def straight_through(x, low, high):
    """Round and clip; the gradient is that of the clip."""
    rounded = x + (torch.round(x) - x).detach()
    return torch.clamp(rounded, low, high)


def constants(quantized, layer):
    """Scales of a layer's weight, (C, 1, 1, 1), and its bias as a float."""
    node = next(node for node in quantized.graph if node.name == layer)
    weight, bias = (value.producer() for value in node.inputs[1:3])
    scale = weight.inputs[1].const_value.numpy().reshape(-1, 1, 1, 1)
    stored, step = (value.const_value.numpy() for value in bias.inputs[:2])
    return torch.tensor(scale), torch.tensor((stored * step.astype(np.float64)).astype(np.float32))


def torch_loss(model, quantized, x, leaves):
    """The same loss in PyTorch: ``leaves`` are weights and biases by layer."""
    arrays = {n: torch.tensor(v.const_value.numpy()) for n, v in model.graph.initializers.items()}
    x = torch.tensor(x)
    b = F.relu(F.conv2d(x, arrays["w0"], arrays["b0"], padding=1))
    d = F.relu(F.conv2d(b, arrays["w1"], arrays["b1"], padding=1, groups=2))

    def layer(x, name, **options):
        scale, bias = constants(quantized, name)
        low, high = -(2 ** (BITS[name] - 1)), 2 ** (BITS[name] - 1) - 1
        weight = straight_through(leaves[name, False], low, high) * scale
        deviation = DEVIATIONS[name.removeprefix("make_")]
        return F.relu(F.conv2d(x, weight, bias + deviation * leaves[name, True], **options))

    def rounded(x, name):
        grid = GRIDS[name]
        low, high = (end - grid.shift for end in grid.integers)
        return straight_through(x / grid.scale, low, high) * grid.scale

    qb = rounded(layer(rounded(x, "x"), "make_a", padding=1), "b")
    qd = rounded(layer(qb, "make_c", padding=1, groups=2), "d")
    total = 0.0
    for name, student, teacher in (("b", qb, b), ("d", qd, d)):
        weight = torch.tensor(WEIGHTS[name], dtype=torch.float32).reshape(1, -1, 1, 1)
        total = total + (weight * (student - teacher) ** 2).mean()
    return total


def started(found, rng):
    """Inputs of the step: parameters a little beside their integers, moments of 0, the scalars."""
    numbers = zip(SCALARS, (0.01, 0.002, 1.0, 1e-12), strict=True)
    feeds = {name: np.asarray(number, np.float32) for name, number in numbers}
    feeds |= {weight_name(part): np.asarray(1.0, np.float32) for part in found.parts}
    for parameter in found.parameters:
        name, start = parameter.value.name, parameter.start
        feeds[name] = start + rng.uniform(-0.4, 0.4, start.shape).astype(np.float32)
        feeds |= {f"{name}_{moment}": np.zeros_like(start) for moment in MOMENTS}
    return feeds


def test_loss_and_gradients_are_those_of_pytorch():
    """Straight through the roundings of weights and tensors, to 1e-4 of the largest one.

    After the first step, the first moment is the gradient.
    """
    model, quantized, found, x = built()
    feeds = started(found, np.random.default_rng(3))
    got = session.load(found.step, threads=1)({"x": x, **feeds})
    leaves = {
        (p.layers[0], p.is_bias): torch.tensor(feeds[p.value.name], requires_grad=True)
        for p in found.parameters
    }
    loss = torch_loss(model, quantized, x, leaves)
    loss.backward()
    assert float(got["loss"]) == pytest.approx(float(loss.detach()), rel=1e-5)
    for parameter in found.parameters:
        expected = leaves[parameter.layers[0], parameter.is_bias].grad.numpy()
        gradient = got[f"new_{parameter.value.name}_{MOMENTS[0]}"]
        np.testing.assert_allclose(gradient, expected, atol=1e-4 * np.abs(expected).max())


def test_a_step_goes_down():
    """Eighty steps on one batch make the loss smaller by a tenth, and the look at it agrees."""
    _, _, found, x = built()
    step, feeds = session.load(found.step, threads=1), started(found, np.random.default_rng(3))
    first = float(step({"x": x, **feeds})["loss"])
    for time in range(80):
        feeds["second_correction"] = np.asarray(1 / (1 - BETA2 ** (time + 1)), np.float32)
        new = step({"x": x, **feeds})
        feeds |= {n: new[f"new_{n}"] for n in feeds if f"new_{n}" in new}
    last = float(step({"x": x, **feeds})["loss"])
    seen = {p.value.name: feeds[p.value.name] for p in found.parameters}
    assert float(session.load(found.measure, threads=1)({"x": x, **seen})["features"]) == last
    assert last < 0.9 * first


def test_layers_that_no_counting_tensor_depends_on_are_not_trained():
    """The last layer's output has no weight here."""
    _, _, found, _ = built()
    assert {p.layers[0] for p in found.parameters} == {"make_a", "make_c"}


def test_nothing_to_count_is_nothing_to_train():
    """Without a tensor that counts there are no graphs."""
    model, quantized, _ = networks()
    assert graphs(model, quantized, BITS, Importance({}, DEVIATIONS)) is None


def read(emitter, outputs):
    """A detector whose candidates are the 64 places of a tensor: boxes around them, two classes."""
    pen = Pen(emitter, "candidates")
    rows = pen("Transpose", pen("Reshape", outputs["d"], [2, 8, 64]), perm=(0, 2, 1))
    low = pen("Add", pen.part(rows, 0, 2), pen.array(np.arange(128).reshape(64, 2)))
    high = pen("Add", low, pen("Add", pen.part(rows, 2, 4), 4.0))
    boxes, logits = pen("Concat", low, high, axis=-1), pen.part(rows, 4, 6)
    return Candidates(pen.shaped(boxes, 2, 64, 4), pen.shaped(logits, 2, 64, 2))


PLACES = Places(np.arange(128, dtype=np.float32).reshape(64, 2) + 2, np.ones((64, 1), np.float32))
DETECTOR = DetectorLoss(
    outputs=("d",),
    classes=2,
    size=(128, 128),
    places=PLACES,
    gains=Gains(),
    assign=task_aligned,
    read=read,
)
OBJECTS = Objects(np.array([[1, 2, 9, 11], [40, 40, 60, 50]], np.float32), np.array([0, 1]))


def test_every_part_counts_by_its_weight():
    """Features, agreement, detection and heads: the loss is their weighted sum."""
    model, quantized, pictures = networks()
    for each in (model, quantized):
        infer_shapes(each)
    objective = Objective(detection=0.1, heads=0.1)
    counts = Importance(WEIGHTS, DEVIATIONS)
    found = graphs(model, quantized, BITS, counts, DETECTOR, objective)
    assert found.parts == PARTS
    feeds, x = started(found, np.random.default_rng(3)), pictures[:2]
    weights = {weight_name(p): np.array(0.3 + i, np.float32) for i, p in enumerate(PARTS)}
    objects = (OBJECTS, OBJECTS.mirrored(128))
    zeros = np.zeros((2, 64, 4)), np.ones((2, 64, 2))
    goal = goals(objects, DETECTOR.assigned(*zeros, objects))
    got = session.load(found.step, threads=1)({"x": x, **feeds, **weights, **goal})
    seen = {p.value.name: feeds[p.value.name] for p in found.parameters}
    parts = session.load(found.measure, threads=1)({"x": x, **seen, **goal})
    assert min(parts.values()) > 0
    rows = zip(parts.values(), weights.values(), strict=True)
    total = sum(float(part) * float(weight) for part, weight in rows)
    assert float(got["loss"]) == pytest.approx(total, rel=1e-5)


def test_a_detector_whose_outputs_are_not_there_does_not_count():
    """Names may be gone after preparation; the tensors are enough then."""
    model, quantized, _ = networks()
    for each in (model, quantized):
        infer_shapes(each)
    detector = replace(DETECTOR, outputs=("gone",))
    found = graphs(model, quantized, BITS, Importance(WEIGHTS, DEVIATIONS), detector)
    assert found.parts == ("features",)
    assert found.detector is None
