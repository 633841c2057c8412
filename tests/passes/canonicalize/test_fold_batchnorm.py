"""BatchNormalization folds into its neighbours without changing the function."""

import numpy as np
import pytest

from passes import BatchNormToConv, FoldBatchNorm

TOLERANCE = 1e-5  # relative to the largest output; a wrong parameter gives 1e-1


def batchnorm(rng, channels, prefix=""):
    """Parameters far from the neutral ones, with a variance that ε matters for."""
    return {
        f"{prefix}gamma": rng.uniform(-2, 2, channels).astype(np.float32),
        f"{prefix}beta": rng.normal(size=channels).astype(np.float32),
        f"{prefix}mean": rng.normal(size=channels).astype(np.float32),
        f"{prefix}variance": rng.uniform(1e-4, 3, channels).astype(np.float32),
    }


def normal(rng, *shape):
    """Normal numbers."""
    return rng.normal(size=shape).astype(np.float32)


BN = "y = BatchNormalization<epsilon=0.001>(a, gamma, beta, mean, variance)"


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("layer", "weight"),
    [
        ("Conv<pads=[1,1,1,1]>", (6, 4, 3, 3)),
        ("Conv<strides=[2,2], group=2>", (6, 2, 3, 3)),
        ("Conv<pads=[1,1,1,1], group=4>", (4, 1, 3, 3)),
        ("Conv<group=4>", (8, 1, 1, 1)),
        ("ConvTranspose<strides=[2,2]>", (4, 6, 2, 2)),
        ("ConvTranspose<strides=[2,2], pads=[1,1,1,1], group=2>", (4, 3, 4, 4)),
        ("ConvTranspose<strides=[2,2], group=4>", (4, 1, 2, 2)),
        ("ConvTranspose<group=4>", (4, 2, 2, 2)),
    ],
)
def test_folds_into_the_convolution_before(build, run, error, operators, rng, layer, weight, bias):
    """Conv and ConvTranspose of any groups, with and without bias, take the BatchNorm."""
    op_type, _, attributes = layer.partition("<")
    groups = int(attributes.partition("group=")[2].rstrip(">") or 1)
    outputs = weight[1] * groups if op_type == "ConvTranspose" else weight[0]
    model = build(
        f"""(float[2,4,7,7] x) => (float[n,c,h,w] y) {{
            a = {layer}(x, w{", b" if bias else ""})
            {BN}
        }}""",
        w=normal(rng, *weight),
        **({"b": normal(rng, outputs)} if bias else {}),
        **batchnorm(rng, outputs),
    )
    x = normal(rng, 2, 4, 7, 7)
    before = run(model, x=x)
    assert FoldBatchNorm(backwards=False)(model).modified
    assert operators(model) == [op_type]
    assert error(before, run(model, x=x)) < TOLERANCE


@pytest.mark.parametrize("bias", [None, (5,), (1, 5), (), (3, 1)])
@pytest.mark.parametrize("transposed", [0, 1])
def test_folds_into_the_gemm_before(build, run, error, operators, rng, transposed, bias):
    """A Gemm takes it along the right axis of its weight, with any bias that broadcasts."""
    model = build(
        f"""(float[3,4] x) => (float[n,c] y) {{
            a = Gemm<transB={transposed}>(x, w{"" if bias is None else ", b"})
            {BN}
        }}""",
        w=normal(rng, *((5, 4) if transposed else (4, 5))),
        **({} if bias is None else {"b": normal(rng, *bias)}),
        **batchnorm(rng, 5),
    )
    x = normal(rng, 3, 4)
    before = run(model, x=x)
    FoldBatchNorm()(model)
    assert operators(model) == ["Gemm"]
    assert error(before, run(model, x=x)) < TOLERANCE


def test_a_weight_that_two_convs_share_is_folded_for_each(build, run, error, operators, rng):
    """Each Conv gets constants of its own; the shared ones are not changed under the other."""
    model = build(
        """(float[1,4,6,6] x) => (float[n,c,h,w] y, float[n,c,h,w] z, float[n,c,h,w] plain) {
            a = Conv(x, w, b)
            y = BatchNormalization(a, gamma, beta, mean, variance)
            c = Conv(x, w, b)
            z = BatchNormalization(c, o_gamma, o_beta, o_mean, o_variance)
            plain = Conv(x, w, b)
        }""",
        w=normal(rng, 3, 4, 2, 2),
        b=normal(rng, 3),
        **batchnorm(rng, 3),
        **batchnorm(rng, 3, "o_"),
    )
    x = normal(rng, 1, 4, 6, 6)
    before = run(model, x=x)
    FoldBatchNorm()(model)
    assert operators(model) == ["Conv"] * 3
    after = run(model, x=x)
    assert error(before, after) < TOLERANCE
    np.testing.assert_array_equal(before["plain"], after["plain"])


def test_names_of_outputs_and_tensors_are_kept(build, rng):
    """The layer's output takes the BatchNorm's name, inside the graph and as a graph output."""
    model = build(
        """(float[1,4,6,6] x) => (float[n,c,h,w] y) {
            a = Conv(x, w)
            inner = BatchNormalization(a, gamma, beta, mean, variance)
            r = Relu(inner)
            c = Conv(r, v)
            y = BatchNormalization(c, gamma, beta, mean, variance)
        }""",
        w=normal(rng, 3, 4, 1, 1),
        v=normal(rng, 3, 3, 1, 1),
        **batchnorm(rng, 3),
    )
    FoldBatchNorm()(model)
    assert [node.outputs[0].name for node in model.graph] == ["inner", "r", "y"]
    assert [output.name for output in model.graph.outputs] == ["y"]


BACKWARDS = """(float[1,4,6,6] x) => (float[n,c,h,w] y, float[n,c,h,w] z) {{
    {source}
    n = BatchNormalization(a, gamma, beta, mean, variance)
    y = Conv{first}(n, w, b)
    z = Conv{second}(n, v)
}}"""


def backwards_model(build, rng, *, source="a = Relu(x)", first="", second="<group=2>"):
    """A BatchNorm before a plain Conv with bias and a grouped one without."""
    return build(
        BACKWARDS.format(source=source, first=first, second=second),
        w=normal(rng, 5, 4, 3, 3),
        b=normal(rng, 5),
        v=normal(rng, 6, 2, 2, 2),
        **batchnorm(rng, 4),
    )


@pytest.mark.parametrize("source", ["a = Relu(x)", "a = Identity(x)", "a = Add(x, x)"])
def test_folds_into_every_convolution_behind(build, run, error, operators, rng, source):
    """Without padding, a plain and a grouped Conv behind it take the map of their input."""
    model = backwards_model(build, rng, source=source)
    x = normal(rng, 1, 4, 6, 6)
    before = run(model, x=x)
    FoldBatchNorm()(model)
    assert operators(model)[1:] == ["Conv", "Conv"]
    assert error(before, run(model, x=x)) < TOLERANCE


def test_folds_the_input_of_the_graph_backwards(build, run, error, operators, rng):
    """A BatchNorm on the graph's input goes into the Conv behind it."""
    model = build(
        """(float[1,3,6,6] x) => (float[n,c,h,w] y) {
            n = BatchNormalization(x, gamma, beta, mean, variance)
            y = Conv(n, w)
        }""",
        w=normal(rng, 5, 3, 3, 3),
        **batchnorm(rng, 3),
    )
    x = normal(rng, 1, 3, 6, 6)
    before = run(model, x=x)
    FoldBatchNorm()(model)
    assert operators(model) == ["Conv"]
    assert error(before, run(model, x=x)) < TOLERANCE


@pytest.mark.parametrize(
    "padding", ["<pads=[1,1,1,1]>", "<pads=[0,0,0,1]>", '<auto_pad="SAME_LOWER">']
)
def test_padding_declines_backwards(build, run, operators, rng, padding):
    """One Conv that pads keeps the BatchNorm, also before those that do not."""
    model = backwards_model(build, rng, first=padding)
    x = normal(rng, 1, 4, 6, 6)
    before = run(model, x=x)
    assert not FoldBatchNorm()(model).modified
    assert operators(model).count("BatchNormalization") == 1
    np.testing.assert_array_equal(before["y"], run(model, x=x)["y"])


def test_backwards_can_be_forbidden(build, operators, rng):
    """Without ``backwards`` every BatchNorm's output stays in the graph."""
    model = backwards_model(build, rng)
    assert not FoldBatchNorm(backwards=False)(model).modified
    assert "BatchNormalization" in operators(model)


DECLINED = {
    "two readers": """(float[1,3,6,6] x) => (float[n,c,h,w] y, float[n,c,h,w] r) {
        a = Conv(x, w)
        y = BatchNormalization(a, gamma, beta, mean, variance)
        r = Relu(a)
    }""",
    "conv is an output": """(float[1,3,6,6] x) => (float[n,c,h,w] y, float[n,c,h,w] a) {
        a = Conv(x, w)
        y = BatchNormalization(a, gamma, beta, mean, variance)
    }""",
    "output before a conv": """(float[1,3,6,6] x) => (float[n,c,h,w] y, float[n,c,h,w] n) {
        r = Relu(x)
        n = BatchNormalization(r, gamma, beta, mean, variance)
        y = Conv(n, w)
    }""",
    "after Add": """(float[1,3,6,6] x) => (float[n,c,h,w] y) {
        c = Conv(x, w)
        a = Add(c, x)
        n = BatchNormalization(a, gamma, beta, mean, variance)
        y = Relu(n)
    }""",
    "after Concat": """(float[1,3,6,6] x) => (float[n,c,h,w] y) {
        c = Conv(x, w)
        a = Concat<axis=2>(c, x)
        n = BatchNormalization(a, gamma, beta, mean, variance)
        y = Relu(n)
    }""",
}


@pytest.mark.parametrize("graph", DECLINED.values(), ids=DECLINED.keys())
def test_what_cannot_be_folded_becomes_a_depthwise_conv(build, run, error, operators, rng, graph):
    """A BatchNorm without a neighbour of its own stays, and ``BatchNormToConv`` takes it."""
    model = build(graph, w=normal(rng, 3, 3, 1, 1), **batchnorm(rng, 3))
    x = normal(rng, 1, 3, 6, 6)
    before = run(model, x=x)
    assert not FoldBatchNorm()(model).modified
    BatchNormToConv()(model)
    assert "BatchNormalization" not in operators(model)
    assert error(before, run(model, x=x)) < TOLERANCE


def test_training_mode_is_left_alone(build, operators, rng):
    """Statistics of the batch cannot be folded."""
    model = build(
        """(float[1,3,6,6] x) => (float[n,c,h,w] y) {
            a = Conv(x, w)
            y, m, v = BatchNormalization<training_mode=1>(a, gamma, beta, mean, variance)
        }""",
        w=normal(rng, 3, 3, 1, 1),
        **batchnorm(rng, 3),
    )
    assert not FoldBatchNorm()(model).modified
    assert not BatchNormToConv()(model).modified
    assert operators(model) == ["Conv", "BatchNormalization"]


def test_a_computed_parameter_is_left_alone(build, operators, rng):
    """A mean that comes from outside cannot be folded."""
    parameters = batchnorm(rng, 3)
    del parameters["mean"]
    model = build(
        """(float[1,3,6,6] x, float[3] mean) => (float[n,c,h,w] y) {
            a = Conv(x, w)
            y = BatchNormalization(a, gamma, beta, mean, variance)
        }""",
        w=normal(rng, 3, 3, 1, 1),
        **parameters,
    )
    assert not FoldBatchNorm()(model).modified
    assert not BatchNormToConv()(model).modified
    assert operators(model) == ["Conv", "BatchNormalization"]


def test_a_reader_inside_a_subgraph_counts(build, run, error, operators, rng):
    """A branch of an If that reads the Conv's output keeps the BatchNorm from folding."""
    model = build(
        """(float[1,3,6,6] x, bool c) => (float[n,c,h,w] y, float[n,c,h,w] z) {
            a = Conv(x, w)
            y = BatchNormalization(a, gamma, beta, mean, variance)
            z = If(c) <
                then_branch = then () => (float[n,c,h,w] t) { t = Relu(a) },
                else_branch = other () => (float[n,c,h,w] e) { e = Neg(a) }
            >
        }""",
        w=normal(rng, 3, 3, 1, 1),
        **batchnorm(rng, 3),
    )
    feeds = {"x": normal(rng, 1, 3, 6, 6), "c": np.array(True)}
    before = run(model, **feeds)
    assert not FoldBatchNorm()(model).modified
    BatchNormToConv()(model)
    assert operators(model) == ["Conv", "Conv", "If"]
    assert error(before, run(model, **feeds)) < TOLERANCE
