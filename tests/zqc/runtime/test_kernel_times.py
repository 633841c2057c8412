"""A profile is read."""

import onnx
import pytest

from zqc.runtime.kernel_times import kernel_times, plain_name

CONV = [{"uint8": [1, 8, 8, 3]}, {"float": []}, {"uint8": []}, {"float": [16]}, {"int8": []}]
"""What the profile says of a QLinearConv, whose packed weights it leaves out."""


def event(name, op_type, milliseconds, *, index="0", inputs=(), outputs=()):
    """An event as ONNX Runtime writes it."""
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "dur": milliseconds * 1e3,
        "args": {
            "op_name": op_type,
            "node_index": index,
            "provider": "P",
            "input_type_shape": list(inputs),
            "output_type_shape": list(outputs),
        },
    }


def graph():
    """A convolution behind a node without constants."""
    parsed = onnx.parser.parse_graph(
        """g (uint8[1,8,8,3] x) => (uint8[1,8,8,16] y)
            <float s = {1.0}, uint8 z = {0}, int8 wz = {0}> {
            a = Identity(x)
            [conv] y = QLinearConv(a, s, z, w, ws, wz, s, z)
        }"""
    )
    for name, dtype, dims in (
        ("w", onnx.TensorProto.INT8, (16, 3, 3, 3)),
        ("ws", onnx.TensorProto.FLOAT, (16,)),
    ):
        parsed.initializer.append(onnx.TensorProto(name=name, data_type=dtype, dims=dims))
    return parsed


def test_times_are_of_the_runs_after_the_first():
    """Median and fastest run; the warm-up and what is no kernel do not count."""
    events = [event("a", "Relu", ms) for ms in (9, 1, 5, 2)]
    events.append({"cat": "Session", "name": "model_run", "dur": 7})
    (found,) = kernel_times(events, 4)
    assert (found.name, found.op_type, found.provider) == ("a", "Relu", "P")
    assert found.seconds == pytest.approx(2e-3)
    assert found.best == pytest.approx(1e-3)


def test_a_loop_counts_as_often_as_it_runs():
    """Times of a body add up within a run; the Loop, which contains them, is left out."""
    one_run = [event("a", "Relu", 1), event("a", "Relu", 2), event("l", "Loop", 4, index="7")]
    (found,) = kernel_times(one_run * 3, 3)
    assert found.seconds == pytest.approx(3e-3)


def test_nodes_of_the_same_name_are_told_apart():
    """ONNX Runtime adds nodes whose name it does not make unique."""
    events = [event("Transpose", "Transpose", 1, index=i) for i in "12"] * 2
    assert [found.seconds for found in kernel_times(events, 2)] == pytest.approx([1e-3, 1e-3])


@pytest.mark.parametrize("name", ["conv", ""])
def test_packed_weights_are_put_back(name):
    """The graph knows the shape that the profile leaves out; nodes are found without names."""
    events = [
        event("Identity_0", "Identity", 1, inputs=[{"uint8": [1, 8, 8, 3]}]),
        event(name or "QLinearConv_1", "QLinearConv", 1, index="1", inputs=[*CONV, *CONV[1:3]]),
    ]
    executed = graph()
    executed.node[1].name = name
    _, found = kernel_times(events * 2, 2, executed)
    assert found.inputs == (
        ("uint8", (1, 8, 8, 3)),
        ("float", ()),
        ("uint8", ()),
        ("int8", (16, 3, 3, 3)),
        ("float", (16,)),
        ("int8", ()),
        ("float", ()),
        ("uint8", ()),
    )


def test_nodes_are_found_by_name_behind_control_flow():
    """Kernels that are not in the graph itself do not hinder."""
    events = [
        event("inner", "Relu", 1),
        event("conv", "QLinearConv", 1, index="1", inputs=[*CONV, *CONV[1:3]]),
    ]
    inner, found = kernel_times(events * 2, 2, graph())
    assert inner.inputs == ()
    assert found.inputs[3] == ("int8", (16, 3, 3, 3))


@pytest.mark.parametrize(
    ("name", "plain"), [("a_nchwc", "a"), ("a_nchwc_token_12", "a"), ("token_x", "token_x")]
)
def test_plain_names(name, plain):
    """What changes of memory layout append is left out."""
    assert plain_name(name) == plain
