"""The loss between the detections of two models is that of PyTorch."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.passes.helpers import build_model
from tools.example.loss import complete_iou
from zqc.autodiff.emitter import Emitter
from zqc.autodiff.engine import backward, infer_shapes
from zqc.detection.losses.agreement_loss import LEAST_OVERLAP, LEAST_SCORE, agreement_loss
from zqc.detection.losses.candidates import Candidates
from zqc.runtime import session

PICTURES, PLACES, CLASSES = 2, 40, 3
SHAPES = {"boxes": 4, "logits": CLASSES, "objectness": 1}


def loaded(*, objectness, filtered=True, opset=21, background=None):
    """A session that gives loss and slopes of what a quantized and a float model say."""
    names = [n for n in SHAPES if objectness or n != "objectness"]
    inputs = ", ".join(
        f"float[{PICTURES},{PLACES},{SHAPES[n]}] {side}_{n}" for side in "st" for n in names
    )
    model = build_model(
        f"({inputs}) => (float[{PICTURES},{PLACES},4] y) {{ y = Identity(s_boxes) }}",
        opset=opset,
    )
    values = {value.name: value for value in model.graph.inputs}
    student, teacher = (
        Candidates(**{name: values[f"{side}_{name}"] for name in names}, background=background)
        for side in "st"
    )
    emitter = Emitter(model.graph)
    total, around = agreement_loss(emitter, student, teacher, filtered=filtered)
    one = emitter.array(np.ones((), np.float32), "one")
    wrt = [values[f"s_{name}"] for name in names]
    slopes = backward(model, {total: one}, wrt, around=around)
    model.graph.outputs[:] = [emitter.named(total, "loss"), *slopes]
    infer_shapes(model)
    return session.load(model, threads=1), names


def said(rng, names):
    """Random candidates of both models: most boxes overlap, some do not; few scores are high."""
    found = {}
    centres = rng.uniform(20, 60, (PICTURES, PLACES, 2))
    for side in "st":
        away = rng.normal(0, 4, centres.shape) + (rng.random((PICTURES, PLACES, 1)) < 0.2) * 60
        sizes = rng.uniform(8, 24, centres.shape)
        corners = [centres + away - sizes / 2, centres + away + sizes / 2]
        found[f"{side}_boxes"] = np.concatenate(corners, axis=-1).astype(np.float32)
        for name in names[1:]:
            shape = (PICTURES, PLACES, SHAPES[name])
            found[f"{side}_{name}"] = rng.normal(-4, 3, shape).astype(np.float32)
    return found


def divergence(student, teacher):
    """KL of two outcomes, from logits."""
    p = torch.sigmoid(teacher)
    entropy = functional.binary_cross_entropy_with_logits(teacher, p, reduction="none")
    return functional.binary_cross_entropy_with_logits(student, p, reduction="none") - entropy


def of_torch(feeds, objectness, *, filtered=True):
    """The loss and its slopes."""
    given = {n: torch.tensor(v, requires_grad=n.startswith("s_")) for n, v in feeds.items()}
    scores = torch.sigmoid(given["t_logits"])
    terms = divergence(given["s_logits"], given["t_logits"]).sum(-1, keepdim=True)
    if objectness:
        there = torch.sigmoid(given["t_objectness"])
        scores = scores * there
        terms = there * terms + divergence(given["s_objectness"], given["t_objectness"])
    score = scores.amax(-1, keepdim=True)
    overlap = complete_iou(given["s_boxes"], given["t_boxes"]).reshape(score.shape)
    counts = (score >= LEAST_SCORE) & (overlap >= LEAST_OVERLAP) if filtered else 1.0
    terms = terms + 5 * score * counts * (1 - overlap)
    loss = (terms.sum(1) / score.sum(1).clamp(min=1)).sum()
    loss.backward()
    return loss.item(), {n: v.grad.numpy() for n, v in given.items() if n.startswith("s_")}


@pytest.mark.parametrize(("objectness", "filtered"), [(True, True), (False, True), (True, False)])
def test_loss_and_slopes_are_those_of_pytorch(rng, objectness, filtered):
    """Classes, objectness and boxes of two pictures, to 1e-4 of the largest slope."""
    run, names = loaded(objectness=objectness, filtered=filtered)
    feeds = said(rng, names)
    got = run(feeds)
    expected, slopes = of_torch(feeds, objectness, filtered=filtered)
    assert float(got["loss"]) == pytest.approx(expected, rel=1e-4)
    for name in names:
        slope = slopes[f"s_{name}"]
        np.testing.assert_allclose(
            got[f"s_{name}_gradient"], slope, atol=1e-4 * np.abs(slope).max()
        )


@pytest.mark.parametrize("place", ["first", "last"])
def test_classes_that_compete_are_compared_as_one_distribution(rng, place):
    """KL of softmaxes, and scores without what means that there is nothing (1e-4)."""
    run, names = loaded(objectness=False, background=place)
    feeds = said(rng, names)
    got = run(feeds)
    given = {n: torch.tensor(v, requires_grad=n.startswith("s_")) for n, v in feeds.items()}
    p = given["t_logits"].softmax(-1)
    logs = given["s_logits"].log_softmax(-1)
    terms = functional.kl_div(logs, p, reduction="none").sum(-1, keepdim=True)
    score = (p[..., 1:] if place == "first" else p[..., :-1]).amax(-1, keepdim=True)
    overlap = complete_iou(given["s_boxes"], given["t_boxes"]).reshape(score.shape)
    counts = (score >= LEAST_SCORE) & (overlap >= LEAST_OVERLAP)
    terms = terms + 5 * score * counts * (1 - overlap)
    loss = (terms.sum(1) / score.sum(1).clamp(min=1)).sum()
    loss.backward()
    assert float(got["loss"]) == pytest.approx(loss.item(), rel=1e-4)
    for name in names:
        slope = given[f"s_{name}"].grad.numpy()
        near = 1e-4 * np.abs(slope).max()
        np.testing.assert_allclose(got[f"s_{name}_gradient"], slope, atol=near)


@pytest.mark.parametrize("background", [None, "last"])
def test_equal_models_have_no_loss(rng, background):
    """What the cross entropy is at best is taken off."""
    run, names = loaded(objectness=background is None, background=background)
    feeds = said(rng, names)
    same = feeds | {f"s_{name}": feeds[f"t_{name}"] for name in names}
    assert float(run(same)["loss"]) == pytest.approx(0, abs=1e-4)


def test_an_old_opset_gives_the_same(rng):
    """Before 18, the axes of a reduction are an attribute."""
    run, names = loaded(objectness=False, opset=17)
    feeds = said(rng, names)
    newer, _ = loaded(objectness=False)
    assert float(run(feeds)["loss"]) == pytest.approx(float(newer(feeds)["loss"]), rel=1e-6)
