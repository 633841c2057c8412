"""Losses as graphs are those of PyTorch, and candidates are what the conventions decode."""

from functools import partial

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch.nn import functional

from tests.passes.helpers import build_model
from tools.example.loss import DetectionLoss, complete_iou
from tools.paths import DETECTOR
from zqc.autodiff.emitter import Emitter
from zqc.autodiff.engine import backward, infer_shapes
from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.anchor_heads import AnchorHeads, Head
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.rtmdet import RtmDet
from zqc.detection.conventions.yolo import Yolo
from zqc.detection.conventions.yolo_raw import YoloRaw
from zqc.detection.losses.assignment import Objects
from zqc.detection.losses.known import loss_of
from zqc.detection.losses.loss import goals
from zqc.detection.nms import select
from zqc.model_io import model_file
from zqc.runtime import session

SIZE, CLASSES = 64, 3
CELLS = 84
RAW = YoloRaw(("box",), ("class",), (8, 16, 32), CLASSES, True, SIZE, SIZE)
ANCHORS = (
    Head("coarse", 32, ((20.0, 30.0), (50.0, 40.0))),
    Head("fine", 16, ((8.0, 10.0), (14.0, 12.0))),
)


def facts(**outputs):
    """What is known of a detector with these outputs."""
    return Facts(outputs, SIZE, SIZE)


def heads(**shapes):
    """A model that hands on its inputs."""
    names = list(shapes)
    inputs = ", ".join(f"float[{','.join(map(str, shapes[n]))}] {n}_in" for n in names)
    outputs = ", ".join(f"float[{','.join(map(str, shapes[n]))}] {n}" for n in names)
    body = "\n".join(f"{n} = Identity({n}_in)" for n in names)
    return build_model(f"({inputs}) => ({outputs}) {{ {body} }}", opset=17)


def attached(loss, model, count):
    """Append candidates, loss and its gradient with respect to the inputs."""
    graph, emitter = model.graph, Emitter(model.graph)
    inputs = list(graph.inputs)
    found = {value.name: value for value in graph.outputs}
    said = loss.read(emitter, {name: found[name] for name in loss.outputs})
    goal = loss.inputs(count)
    graph.inputs.extend(goal.values())
    total, around = loss.loss(emitter, said, goal)
    one = emitter.array(np.float32(1), "one")
    slopes = backward(model, {total: one}, inputs, around=around)
    scores = said.scores(emitter)
    results = {"boxes": said.boxes, "scores": scores, "loss": total}
    results |= {f"slope_{value.name}": slope for value, slope in zip(inputs, slopes, strict=True)}
    for name, value in results.items():
        value.name = name
    graph.outputs[:] = [*found.values(), *results.values()]
    infer_shapes(model)
    return session.load(model, threads=1)


def objects_of(rng, count, size=SIZE, classes=CLASSES):
    """Random boxes in a picture."""
    sides = rng.uniform(0.2, 0.8, (count, 2)) * size
    low = rng.uniform(0, 1, (count, 2)) * (size - sides)
    boxes = np.concatenate([low, low + sides], axis=1).astype(np.float32)
    return Objects(boxes, rng.integers(0, classes, count))


def evaluated(run, loss, feeds, objects):
    """All outputs, after the assignment by the outputs of the same pictures."""
    count = len(objects)
    empty = {
        "goal_boxes": np.zeros((count, loss.candidates, 4), np.float32),
        "goal_classes": np.full((count, loss.candidates, 1), -1),
        "goal_targets": np.zeros((count, loss.candidates, 1), np.float32),
        "goal_counted": np.zeros((count, loss.candidates, 1), np.float32),
    }
    first = run({**feeds, **empty})
    assigned = loss.assigned(first["boxes"], first["scores"], objects)
    return run({**feeds, **goals(objects, assigned)}), assigned


@pytest.mark.parametrize("pictures", [1, 2])
def test_raw_heads_have_the_loss_of_pytorch(rng, pictures):
    """Assignment, CIoU, cross entropy and distributions: loss and slopes are PyTorch's (1e-4)."""
    loss = loss_of(RAW, facts(box=(1, 64, CELLS)))
    shapes = {"box": (pictures, 64, CELLS), "class": (pictures, CLASSES, CELLS)}
    run = attached(loss, heads(**shapes), pictures)
    raw = rng.normal(0, 1.5, (pictures, 64 + CLASSES, CELLS)).astype(np.float32)
    objects = [objects_of(rng, 3) for _ in range(pictures)]
    feeds = {"box_in": raw[:, :64], "class_in": raw[:, 64:]}
    found, _ = evaluated(run, loss, feeds, objects)
    expected, slopes = by_picture(raw, objects, SIZE)
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-4)
    slope = np.concatenate([found["slope_box_in"], found["slope_class_in"]], axis=1)
    np.testing.assert_allclose(slope, slopes, rtol=1e-4, atol=1e-5)


def by_picture(raw, objects, size):
    """The loss of the example's training in PyTorch, summed over pictures, and its slopes."""
    leaf = torch.tensor(raw, requires_grad=True)
    total = torch.zeros(())
    for one, wanted in zip(leaf, objects, strict=True):
        boxes = torch.tensor(wanted.boxes)[None]
        labels = torch.tensor(wanted.classes)[None]
        total = total + DetectionLoss(size=size)(one[None], boxes, labels)[0]
    total.backward()
    return total.item(), leaf.grad.numpy()


def decoding():
    """The example from what its heads give to its output."""
    model = model_file.load(DETECTOR).model
    graph = model.graph
    value = next(n.outputs[0] for n in graph if n.op_type == "Concat" and _is_raw(n.outputs[0]))
    source = ir.Value(name="raw", shape=ir.Shape((1, 74, 756)), type=value.type)
    ir.convenience.replace_all_uses_with(value, source)
    kept = set()
    waiting = [graph.outputs[0].producer()]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in kept:
            kept.add(node)
            waiting += [v.producer() for v in node.inputs if v is not None]
    graph.inputs[:] = [source]
    graph.remove([node for node in graph if node not in kept], safe=False)
    for node in graph:
        for output in node.outputs:
            output.shape = None
    infer_shapes(model)
    return model


def _is_raw(value):
    return value.shape is not None and list(value.shape)[1:] == [74, 756]


def test_the_decoded_output_has_the_loss_that_the_example_was_trained_with(rng):
    """Logits and distributions are found behind it: loss and slopes are PyTorch's (1e-4)."""
    model = decoding()
    loss = loss_of(Yolo("output0", 10), Facts({"output0": (1, 14, 756)}, 192, 192))
    run = attached(loss, model, 1)
    raw = rng.normal(0, 1.5, (1, 74, 756)).astype(np.float32)
    objects = [objects_of(rng, 3, 192, 10)]
    found, _ = evaluated(run, loss, {"raw": raw}, objects)
    expected, slopes = by_picture(raw, objects, 192)
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-4)
    np.testing.assert_allclose(found["slope_raw"], slopes, rtol=1e-4, atol=1e-5)


def test_without_logits_in_the_graph_they_are_computed(rng):
    """An output that is not joined of a sigmoid has the loss of its probabilities (1e-4)."""
    loss = loss_of(Yolo("out", CLASSES), facts(out=(1, 7, CELLS)))
    run = attached(loss, heads(out=(1, 7, CELLS)), 1)
    output = rng.uniform(0.05, 0.9, (1, 7, CELLS)).astype(np.float32)
    output[:, :4] = rng.uniform(10, 50, (1, 4, CELLS))
    found, assigned = evaluated(run, loss, {"out_in": output}, [objects_of(rng, 2)])
    scores = torch.tensor(output[0, 4:].T, requires_grad=True)
    (goal,) = assigned
    assert (found["scores"][0] - output[0, 4:].T).max() < 1e-5
    free = goal.owner < 0
    share = max(1.0, float(goal.target.sum()))
    entropy = 0.5 * functional.binary_cross_entropy(
        scores, torch.zeros_like(scores), reduction="sum"
    )
    (entropy / share).backward()
    slope = found["slope_out_in"][0, 4:].T[free]
    np.testing.assert_allclose(slope, scores.grad.numpy()[free], rtol=1e-4)


def anchored(sizes):
    """Raw heads with anchors, and the loss of them."""
    convention = AnchorHeads(ANCHORS, CLASSES, sizes=sizes)
    return convention, loss_of(convention, facts(coarse=(2, 16, 2, 2), fine=(2, 2, 4, 4, 8)))


@pytest.mark.parametrize("sizes", ["exponential", "square"])
def test_anchors_have_the_loss_of_pytorch(rng, sizes):
    """CIoU, objectness and classes of heads with anchors: loss and slopes are PyTorch's (1e-4)."""
    convention, loss = anchored(sizes)
    shapes = {"coarse": (2, 16, 2, 2), "fine": (2, 2, 4, 4, 8)}
    run = attached(loss, heads(**shapes), 2)
    feeds = {f"{n}_in": rng.normal(0, 1, s).astype(np.float32) for n, s in shapes.items()}
    objects = [objects_of(rng, count) for count in (1, 3)]
    found, assigned = evaluated(run, loss, feeds, objects)
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in feeds.items()}
    coarse = leaves["coarse_in"].unflatten(1, (2, 8)).permute(0, 1, 3, 4, 2).flatten(1, 3)
    rows = torch.cat([coarse, leaves["fine_in"].flatten(1, 3)], dim=1)
    boxes = anchor_boxes(rows, sizes)
    total = torch.zeros(())
    for i, (goal, wanted) in enumerate(zip(assigned, objects, strict=True)):
        owned = torch.tensor(np.flatnonzero(goal.owner >= 0))
        owner = torch.tensor(goal.owner)[owned]
        overlap = complete_iou(boxes[i, owned], torch.tensor(wanted.boxes)[owner])
        labels = functional.one_hot(torch.tensor(wanted.classes)[owner], CLASSES).float()
        entropy = partial(functional.binary_cross_entropy_with_logits, reduction="none")
        there = entropy(rows[i, :, 4], torch.tensor(goal.target)) * torch.tensor(goal.counted)
        classes = entropy(rows[i, owned, 5:], labels).sum()
        share = max(1.0, float(goal.target.sum()))
        total = total + (2 * (1 - overlap).sum() + classes + there.sum()) / share
    total.backward()
    np.testing.assert_allclose(found["loss"], total.item(), rtol=1e-4)
    for name, leaf in leaves.items():
        np.testing.assert_allclose(found[f"slope_{name}"], leaf.grad, rtol=1e-4, atol=1e-5)
    decoded = convention.decode({n: feeds[f"{n}_in"] for n in shapes})
    for i, own in enumerate(decoded):
        ours = select(found["boxes"][i], found["scores"][i])
        np.testing.assert_allclose(ours.boxes, own.boxes, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(ours.scores, own.scores, rtol=1e-5)


def anchor_boxes(rows, sizes):
    """Boxes as YOLOv3 or YOLOv5 write them, row by row: anchor, then row, then column."""
    found = []
    start = 0
    for head in ANCHORS:
        cells = SIZE // head.stride
        for anchor in head.anchors:
            part = rows[:, start : start + cells**2]
            start += cells**2
            y, x = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
            corner = torch.stack([x, y], dim=-1).reshape(-1, 2)
            if sizes == "exponential":
                centre, size = part[..., :2].sigmoid(), part[..., 2:4].exp()
            else:
                centre, size = (
                    part[..., :2].sigmoid() * 2 - 0.5,
                    (2 * part[..., 2:4].sigmoid()) ** 2,
                )
            centre, size = (centre + corner) * head.stride, size * torch.tensor(anchor)
            found.append(torch.cat([centre - size / 2, centre + size / 2], dim=-1))
    return torch.cat(found, dim=1)


def test_an_anchor_answers_in_the_cell_of_the_centre(rng):
    """The shape and the centre decide; near candidates are not counted, all others are."""
    _, loss = anchored("exponential")
    objects = Objects(np.array([[34, 40, 48, 52]], np.float32), np.array([1]))
    boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (loss.candidates, 1))
    boxes[3] = [34, 40, 48, 50]
    scores = rng.uniform(0, 1, (loss.candidates, CLASSES))
    (found,) = loss.assigned(boxes[None], scores[None], [objects])
    # 8 coarse candidates, 16 of the first fine anchor; the centre (41, 46) is in row 2, column 2.
    assert np.flatnonzero(found.owner >= 0).tolist() == [8 + 16 + 2 * 4 + 2]
    assert np.flatnonzero(found.counted == 0).tolist() == [3]
    np.testing.assert_array_equal(found.target, found.owner >= 0)


def test_candidates_are_what_the_convention_decodes(rng):
    """Boxes and scores, chosen among, are the convention's detections (1e-4)."""
    loss = loss_of(RAW, facts(box=(1, 64, CELLS)))
    shapes = {"box": (1, 64, CELLS), "class": (1, CLASSES, CELLS)}
    run = attached(loss, heads(**shapes), 1)
    feeds = {f"{n}_in": rng.normal(0, 2, s).astype(np.float32) for n, s in shapes.items()}
    found, _ = evaluated(run, loss, feeds, [objects_of(rng, 1)])
    (own,) = RAW.decode({name: feeds[f"{name}_in"] for name in shapes})
    ours = select(found["boxes"][0], found["scores"][0])
    np.testing.assert_allclose(ours.boxes, own.boxes, atol=1e-4)
    np.testing.assert_array_equal(ours.labels, own.labels)


def test_a_perfect_prediction_costs_nothing_but_what_is_certain():
    """Where box and class are right, the loss of 1 − CIoU is 0 and the target is 1 (1e-4)."""
    loss = loss_of(Yolo("out", CLASSES), facts(out=(1, 7, CELLS)))
    centre = np.array([20, 28, 16, 16], np.float32)
    output = np.full((1, 7, CELLS), 1e-6, np.float32)
    output[0, :4] = centre[:, None]
    output[0, 4 + 1, 3 * 8 + 2] = 1 - 1e-6  # the cell at (20, 28)
    run = attached(loss, heads(out=(1, 7, CELLS)), 1)
    objects = Objects(corners_from_centres(centre[None]), np.array([1]))
    found, (assigned,) = evaluated(run, loss, {"out_in": output}, [objects])
    assert abs(assigned.target[3 * 8 + 2] - 1) < 1e-4
    assert found["loss"] < 0.05


def test_who_has_no_loss():
    """A convention without a loss, or none, has None."""
    assert loss_of(None, facts()) is None
    assert loss_of(RtmDet(("a",), ("b",), (8,), 3, True, (64, 64)), facts()) is None
