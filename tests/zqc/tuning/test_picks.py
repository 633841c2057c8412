"""The quantized model picks what the float one picks."""

import numpy as np

from tests.passes.helpers import build_model
from zqc.autodiff.emitter import Emitter
from zqc.autodiff.shapes import infer_shapes
from zqc.runtime import session
from zqc.tuning.distillation import beside
from zqc.tuning.picks import pick_alike, picking

GRAPH = """(float[1,6] x) => (float[1,3] best, float[1,3] of, int64[1,3] at) {
    scores = Mul(x, factor)
    best, at = TopK<axis=-1>(scores, three)
    other = Mul(x, hundred)
    of = GatherElements<axis=1>(other, at)
}"""
THREE = np.array([3])


def network(factor):
    """A network that picks the three largest of what it multiplies its input with."""
    factor = np.array(factor, np.float32)
    model = build_model(GRAPH, three=THREE, factor=factor, hundred=100.0)
    infer_shapes(model)
    return model


def test_what_is_behind_a_pick_stands_for_the_same_places():
    """Values are the quantized model's own, at the places of the float one, in its order."""
    student, teacher = network([-1.0] * 6), network([1.0] * 6)
    names = picking(teacher)
    assert names == ["at"]
    found = beside(student.graph, teacher, ["best", *names])
    pick_alike(Emitter(student.graph), student.graph, {"at": found["at"]})
    x = np.array([[1, 5, 2, 6, 3, 4]], np.float32)
    of = next(v for node in student.graph for v in node.outputs if v.name == "of")
    student.graph.outputs[:] = [of]
    got = session.load(student, threads=1)({"x": x})
    assert got["of"].tolist() == [[600, 500, 400]]


def test_values_are_picked_alike_too():
    """What TopK itself hands on is picked anew, and without a partner nothing changes."""
    student, teacher = network([-1.0] * 6), network([1.0] * 6)
    nodes = [node.op_type for node in student.graph]
    pick_alike(Emitter(student.graph), student.graph, {})
    assert [node.op_type for node in student.graph] == nodes
    best = student.graph.outputs[0]
    user = Emitter(student.graph).op("Neg", [best], {}, "turned")
    found = beside(student.graph, teacher, ["at"])
    pick_alike(Emitter(student.graph), student.graph, found)
    student.graph.outputs[:] = [user]
    infer_shapes(student)
    x = np.array([[1, 5, 2, 6, 3, 4]], np.float32)
    (got,) = session.load(student, threads=1)({"x": x}).values()
    assert got.tolist() == [[6, 5, 4]]
