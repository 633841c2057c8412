"""What is no graph at all is refused by name, before any library works on it."""

import onnx
import pytest
from onnx import TensorProto, helper

from tests import nets
from zqc.errors import ModelError
from zqc.model_io import soundness
from zqc.model_io.soundness import check_sound

IF = """
    y = If (yes) <
        then_branch = first () => (float[a] one) {{ one = Relu ({}) }},
        else_branch = second () => (float[a] two) {{ two = Neg (x) }}
    >"""


def model(body, **arrays):
    """A model from x and a truth value to y."""
    return nets.model(f"net (float[4] x, bool yes) => (float[4] y) {{ {body} }}", **arrays)


FAULTS = {
    "reads 'gone', which nothing writes": "y = Add (x, gone)",
    "reads 'lost', which nothing writes": IF.format("lost"),
    "writes 'y', which something else writes": "y = Relu (x) y = Neg (x)",
    "writes 'x', which something else writes": "x = Neg (yes) y = Relu (x)",
    "nothing writes the output 'y'": "z = Relu (x)",
    "reads what is made of its own result": "a = Add (x, c) b = Relu (a) c = Neg (b) y = Relu (a)",
}


@pytest.mark.parametrize("word", FAULTS)
def test_names(word):
    """Every name that is read is written, once, and not by what reads it; in subgraphs, too."""
    with pytest.raises(ModelError, match=word):
        check_sound(model(FAULTS[word]))


def test_a_cycle_through_a_subgraph():
    """What a subgraph reads around it, its node reads."""
    body = IF.format("late") + " late = Neg (y)"
    with pytest.raises(ModelError, match="reads what is made of its own result"):
        check_sound(model(body))


def test_nodes_in_any_order():
    """A file whose nodes stand in another order than they run in is sound."""
    check_sound(model("y = Relu (a) a = Neg (x)"))
    check_sound(model(IF.format("late") + " late = Neg (x)"))


def test_names_that_are_given_twice():
    """Two parameters, inputs or outputs of one name are told."""
    proto = model("y = Relu (x)", weight=[1.0])
    proto.graph.initializer.append(proto.graph.initializer[0])
    with pytest.raises(ModelError, match="'weight' is given twice"):
        check_sound(proto)
    proto = model("y = Relu (x)")
    proto.graph.input.append(proto.graph.input[0])
    with pytest.raises(ModelError, match="'x' is given twice"):
        check_sound(proto)


def test_a_name_that_is_no_text():
    """A name that is no UTF-8 is shown as the bytes that it is."""
    content = model("y = Relu (xray) xray = Neg (x)").SerializeToString()
    proto = onnx.ModelProto.FromString(content.replace(b"xray", b"x\xff\xfey"))
    with pytest.raises(ModelError, match=r"b'x\\xff\\xfey' in it is no UTF-8"):
        check_sound(proto)


def functions(**calls):
    """A model with local functions, each of which calls another one."""
    graph = helper.make_graph(
        [helper.make_node("f", ["x"], ["y"], domain="local")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    made = []
    for name, called in calls.items():
        domain = "" if called == "Relu" else "local"
        node = helper.make_node(called, ["a"], ["b"], domain=domain)
        made.append(helper.make_function("local", name, ["a"], ["b"], [node], opsets))
    return helper.make_model(graph, functions=made, opset_imports=opsets)


def test_functions_that_call_themselves():
    """A function that calls itself, through others or not, is told by its name."""
    check_sound(functions(f="g", g="Relu"))
    for calls in ({"f": "f"}, {"f": "g", "g": "h", "h": "f"}):
        with pytest.raises(ModelError, match="function 'f' of the model calls itself"):
            check_sound(functions(**calls))


def test_bounds(monkeypatch):
    """Graphs in graphs in graphs, and nodes without end, are told with the bound."""
    flat = helper.make_graph([], "deepest", [], [helper.make_tensor_value_info("x", 1, [4])])
    inner = flat
    for _ in range(soundness.DEEPEST):
        node = helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=flat)
        inner = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", 1, [4])])
    proto = model("y = Relu (x)")
    proto.graph.node[0].CopyFrom(inner.node[0])
    with pytest.raises(ModelError, match="nests more than 16 graphs"):
        check_sound(proto)
    monkeypatch.setattr(soundness, "MOST_NODES", 2)
    with pytest.raises(ModelError, match="3 nodes, but at most 2"):
        check_sound(model("a = Relu (x) b = Neg (a) y = Relu (b)"))
