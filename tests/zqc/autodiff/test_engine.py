"""The backward walk: what it refuses, what it leaves out, how gradients meet."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from zqc.autodiff import engine
from zqc.errors import InputShapeError, UnsupportedOperatorError
from zqc.runtime import session


def test_unsupported_operator_is_named_before_anything_is_emitted() -> None:
    """The error names operator and node, says what works, and leaves the graph as it was."""
    model = _parse("""
        (float[2,3] x) => (float loss) {
            y = Relu(x)
            z = CumSum(y, axis)
            loss = ReduceSum<keepdims=0>(z)
        }""")
    model.graph.node(1).name = "running_total"
    with pytest.raises(UnsupportedOperatorError, match=r"CumSum 'running_total'.*--images"):
        engine.gradient(model, model.graph.outputs[0], model.graph.inputs)
    assert len(model.graph) == 3


def test_operator_of_another_domain_is_refused() -> None:
    """An operator of another domain is no operator of the table, whatever its name."""
    model = _parse("(float[2,3] x) => (float loss) { loss = Relu(x) }")
    model.graph.node(0).domain = "com.example"
    with pytest.raises(UnsupportedOperatorError, match=r"com\.example::Relu"):
        engine.gradient(model, model.graph.outputs[0], model.graph.inputs)


def test_unknown_attribute_is_refused() -> None:
    """An attribute that the rule does not know could change the result, so it is an error."""
    model = _parse("(float[2,3] x) => (float loss) { loss = Relu<slope=0.1>(x) }")
    with pytest.raises(UnsupportedOperatorError, match=r"Relu.*'slope'"):
        engine.gradient(model, model.graph.outputs[0], model.graph.inputs)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = Pow(x, s)", "the base of an exponent"),
        ("y = Pad(x, pads, s)", "the padding value depends"),
        ("y = Dropout(x, ratio, on)", "training mode"),
        ('y = Resize<coordinate_transformation_mode="tf_crop_and_resize">(x, , scales)', "tf_crop"),
        ("y = GatherND<batch_dims=1>(x, places)", "batch_dims=1"),
        ('y = ScatterND<reduction="max">(x, places, x)', "reduction='max'"),
        ('y = Einsum<equation="ii->i">(x)', "an index stands twice"),
        ("y = Hardmax(x)", "no gradient rule"),
    ],
)
def test_form_without_gradient_is_refused(body: str, reason: str) -> None:
    """A form of an operator that its rule does not cover is refused with the reason."""
    model = _parse(f"""
        (float[2,3] x, float s, int64[1] index) => (float loss)
        <int64[4] pads = {{0,1,0,1}}, float ratio = {{0.5}}, bool on = {{1}},
         float[2] scales = {{1.0, 2.0}}, int64[2,1] places = {{1, 0}}> {{
            {body}
            loss = ReduceSum<keepdims=0>(y)
        }}""")
    wrt = model.graph.inputs[:2]
    with pytest.raises(UnsupportedOperatorError, match=reason):
        engine.gradient(model, model.graph.outputs[0], wrt)


def test_dynamic_size_that_matters_is_named() -> None:
    """A strided convolution needs the size of its image; the error names node and value."""
    model = _parse("""
        (float[1,3,H,W] x, float[4,3,3,3] w) => (float loss) {
            y = Conv<strides=[2,2]>(x, w)
            loss = ReduceSum<keepdims=0>(y)
        }""")
    with pytest.raises(InputShapeError, match=r"Conv .*fixed sizes.*x has the shape"):
        engine.gradient(model, model.graph.outputs[0], model.graph.inputs[:1])


def test_loss_must_have_one_element() -> None:
    """A loss that is no scalar is a mistake of the caller."""
    model = _parse("(float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    with pytest.raises(ValueError, match="one element"):
        engine.gradient(model, model.graph.outputs[0], model.graph.inputs)


def test_seeds_of_several_values_add_up() -> None:
    """Seeds of values that depend on each other, one compact, one computed from its own value."""
    model = _parse("""
        (float[2,3] x) => (float[2,3] z) {
            y = Exp(x)
            z = Mul(y, y)
            seed_z = Neg(z)
        }""")
    y, z, seed_z = (node.outputs[0] for node in model.graph)
    row = np.asarray([[1.0, 2.0, 3.0]], np.float32)
    seed_y = ir.val("row", const_value=ir.tensor(row))
    model.graph.register_initializer(seed_y)
    seeds = {z: seed_z, y: seed_y}
    model.graph.outputs[:] = engine.backward(model, seeds, [model.graph.inputs[0], y])
    data = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    by_x, by_y = session.load(model)({"x": data}).values()
    expected = -np.exp(2 * data) * 2 * np.exp(data) + row
    np.testing.assert_allclose(by_y, expected, rtol=1e-5)
    np.testing.assert_allclose(by_x, expected * np.exp(data), rtol=1e-5)


def test_seed_of_another_shape_is_refused() -> None:
    """A seed that does not broadcast to its value is a mistake of the caller."""
    model = _parse("(float[2,3] x, float[2,1,3] seed) => (float[2,3] y) { y = Relu(x) }")
    x, seed = model.graph.inputs
    with pytest.raises(ValueError, match="does not broadcast"):
        engine.backward(model, {model.graph.outputs[0]: seed}, [x])


def test_gradient_of_what_the_loss_ignores_is_zero() -> None:
    """An input that the loss does not depend on gets zeros of its shape."""
    model = _parse("""
        (float[2,3] x, float[N,4] other) => (float loss) {
            unused = Relu(other)
            loss = ReduceSum<keepdims=0>(x)
        }""")
    x, other = _gradients(model, x=np.ones((2, 3)), other=np.ones((5, 4)))
    np.testing.assert_array_equal(x, np.ones((2, 3)))
    np.testing.assert_array_equal(other, np.zeros((5, 4)))


def test_integer_paths_carry_no_gradient() -> None:
    """Shapes computed from x need no rule, because integers carry no gradient."""
    model = _parse("""
        (float[2,3] x) => (float loss) {
            shape = Shape(x)
            y = Reshape(x, shape)
            z = CastLike(shape, y)
            loss = ReduceSum<keepdims=0>(y)
        }""")
    (x,) = _gradients(model, x=np.ones((2, 3)))
    np.testing.assert_array_equal(x, np.ones((2, 3)))


def test_gradients_of_several_readers_are_summed() -> None:
    """Of x·x + 3·x + exp(x), with three readers of x: 2·x + 3 + exp(x)."""
    model = _parse("""
        (float[2,3] x) => (float loss) <float three = {3.0}> {
            a = Mul(x, x)
            b = Mul(x, three)
            c = Exp(x)
            y = Sum(a, b, c)
            loss = ReduceSum<keepdims=0>(y)
        }""")
    x = np.linspace(-1, 1, 6).reshape(2, 3)
    (gradient,) = _gradients(model, x=x)
    np.testing.assert_allclose(gradient, 2 * x + 3 + np.exp(x), rtol=1e-6)


def test_silu_counts_each_path_once() -> None:
    """Sigmoid(x)·x is differentiated as a whole; another reader of the sigmoid adds to it."""
    model = _parse("""
        (float[6] x) => (float loss) {
            s = Sigmoid(x)
            y = Mul(s, x)
            z = Add(y, s)
            loss = ReduceSum<keepdims=0>(z)
        }""")
    x = np.linspace(-2, 2, 6)
    (gradient,) = _gradients(model, x=x)
    s = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(gradient, s + x * s * (1 - s) + s * (1 - s), rtol=1e-5)


def test_gradient_of_the_gate_of_silu() -> None:
    """Asked for the gradient of the sigmoid itself, it is that of the product alone: x."""
    model = _parse("""
        (float[6] x) => (float loss) {
            s = Sigmoid(x)
            y = Mul(x, s)
            loss = ReduceSum<keepdims=0>(y)
        }""")
    gate = model.graph.node(0).outputs[0]
    model.graph.outputs[:] = engine.gradient(model, model.graph.outputs[0], [gate])
    x = np.linspace(-2, 2, 6, dtype=np.float32)
    (gradient,) = session.load(model)({"x": x}).values()
    np.testing.assert_array_equal(gradient, x)


@pytest.mark.parametrize("op", ["Max", "ReduceMax", "MaxPool"])
def test_ties_share_the_gradient(op: str) -> None:
    """Elements that attain a maximum together share its gradient, so it sums to that of y."""
    body = {
        "Max": "y = Max(x, x)",
        "ReduceMax": "y = ReduceMax(x)",
        "MaxPool": "y = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(x)",
    }[op]
    model = _parse(f"""
        (float[1,1,4,4] x) => (float loss) {{
            {body}
            loss = ReduceSum<keepdims=0>(y)
        }}""")
    (gradient,) = _gradients(model, x=np.zeros((1, 1, 4, 4)))
    count = {"Max": 16, "ReduceMax": 1, "MaxPool": 4}[op]
    assert np.sum(gradient) == pytest.approx(count, rel=1e-6)
    assert np.all(gradient > 0)


def test_image_gradient_needs_no_weight_gradient() -> None:
    """For the image alone a Conv costs one Conv, with the flipped weight folded and named."""
    model = _parse("""
        (float[1,16,8,8] x, float[4,16,3,3] w) => (float loss) {
            y = Conv<pads=[1,1,1,1]>(x, w)
            square = Mul(y, y)
            loss = ReduceSum<keepdims=0>(square)
        }""")
    weight = model.graph.inputs.pop()
    data = np.random.default_rng(0).standard_normal((4, 16, 3, 3)).astype(np.float32)
    weight.const_value = ir.tensor(data, name="w")
    model.graph.register_initializer(weight)
    engine.gradient(model, model.graph.outputs[0], model.graph.inputs)
    count = Counter(node.op_type for node in model.graph)
    assert count["Conv"] == 2
    assert not count.keys() & {"MatMul", "Slice", "Transpose", "ConvTranspose"}
    (name,) = [name for name in model.graph.initializers if name.startswith("w_")]
    flipped = data.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    folded = model.graph.initializers[name].const_value
    assert folded is not None
    np.testing.assert_array_equal(folded.numpy(), flipped)


@pytest.mark.parametrize(
    ("weight", "options", "operator"),
    [
        ("16,4,1,1", "group=1", "MatMul"),
        ("16,4,1,1", "strides=[2,2]", "ConvTranspose"),
        ("16,4,1,1", "pads=[1,1,1,1]", "ConvTranspose"),
        ("16,4,3,3", "pads=[1,1,1,1]", "ConvTranspose"),
        ("16,1,3,3", "pads=[1,1,1,1], group=4", "Conv"),
    ],
)
def test_form_of_the_input_gradient(weight: str, options: str, operator: str) -> None:
    """One pixel at a time is a MatMul; strides and few channels are a ConvTranspose."""
    model = _parse(f"""
        (float[1,4,8,8] x, float[{weight}] w) => (float loss) {{
            y = Conv<{options}>(x, w)
            loss = ReduceSum<keepdims=0>(y)
        }}""")
    engine.gradient(model, model.graph.outputs[0], model.graph.inputs[:1])
    emitted = {node.op_type for node in list(model.graph)[2:]}
    assert emitted & {"Conv", "ConvTranspose", "MatMul"} == {operator}


def test_mean_stays_compact() -> None:
    """The gradient of statistics is not expanded to the size of the tensor they are taken of."""
    model = _parse("""
        (float[2,3,8,8] x) => (float loss) {
            y = Exp(x)
            mean = ReduceMean<axes=[0,2,3]>(y)
            square = Mul(y, y)
            moment = ReduceMean<axes=[0,2,3]>(square)
            both = Add(mean, moment)
            loss = ReduceSum<keepdims=0>(both)
        }""")
    before = len(model.graph)
    engine.gradient(model, model.graph.outputs[0], model.graph.inputs)
    emitted = Counter(node.op_type for node in list(model.graph)[before:])
    assert "Expand" not in emitted
    # (2/n)·y, + 1/n, ·exp: one pass each.
    assert emitted == {"Mul": 2, "Add": 1}


def test_second_derivative() -> None:
    """The result is an ordinary graph, so it can be differentiated again: (x³)'' = 6·x."""
    model = _parse("""
        (float[4] x) => (float loss) <float three = {3.0}> {
            y = Pow(x, three)
            loss = ReduceSum<keepdims=0>(y)
        }""")
    graph = model.graph
    (first,) = engine.gradient(model, graph.outputs[0], graph.inputs)
    total = ir.node("ReduceSum", [first], {"keepdims": 0})
    graph.append(total)
    (second,) = engine.gradient(model, total.outputs[0], graph.inputs)
    graph.outputs[:] = [second]
    x = np.asarray([0.5, 1, 2, 3], np.float32)
    (result,) = session.load(model)({"x": x}).values()
    np.testing.assert_allclose(result, 6 * x, rtol=1e-5)


def test_same_call_gives_the_same_bytes() -> None:
    """Building the gradient twice from equal models gives equal files."""
    source = """
        (float[1,3,8,8] x, float[3] s) => (float loss) {
            y = InstanceNormalization(x, s, s)
            z = MaxPool<kernel_shape=[3,3]>(y)
            loss = ReduceSum<keepdims=0>(z)
        }"""
    files = []
    for _ in range(2):
        model = _parse(source)
        model.graph.outputs.extend(
            engine.gradient(model, model.graph.outputs[0], model.graph.inputs)
        )
        files.append(ir.to_proto(model).SerializeToString(deterministic=True))
    assert files[0] == files[1]


def _parse(text: str) -> ir.Model:
    return ir.from_onnx_text(f'<ir_version: 8, opset_import: ["": 17]> g {text}')


def _gradients(model: ir.Model, **feeds: np.ndarray) -> list[np.ndarray]:
    gradients = engine.gradient(model, model.graph.outputs[0], model.graph.inputs)
    model.graph.outputs[:] = gradients
    run = session.load(model)
    results = run({name: np.asarray(data, np.float32) for name, data in feeds.items()})
    return [np.asarray(results[gradient.name]) for gradient in gradients]
