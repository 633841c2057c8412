"""Which tensors are quantized, and on which grids."""

import numpy as np
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import QuantizeActivations, SplitBranches
from passes.analysis.bounds import absorbs_negative
from passes.analysis.quantization_points import quantization_points
from passes.arithmetic import Grid
from tests.passes.helpers import build_model

WEIGHTS = {
    "w": np.ones((4, 3, 1, 1), np.float32),
    "v": np.ones((4, 4, 1, 1), np.float32),
    "zero": 0.0,
    "six": 6.0,
    "small": 0.3,
    "half": 0.5,
    "bias": np.ones((1, 4, 1, 8), np.float32),
    "minus": -1.0,
    "positive": np.ones((4, 1, 1), np.float32),
    "signs": np.float32([1, -1, 1, 1]).reshape(4, 1, 1),
    "twice": np.float32([1, 1, 2, 2]),
    "split": np.array([1, 3]),
    "flat": np.array([1, 4, 64]),
    "square": np.array([1, 4, 8, 8]),
    "starts": np.array([0]),
    "ends": np.array([4]),
    "axes": np.array([2]),
}


def model_of(build, body):
    """A first Conv, what is tested between ``first`` and ``last``, and two more Convs."""
    text = f"""{{ first = Conv(x, w) {body} middle = Conv(last, v) y = Conv(middle, v) }}"""
    read = set(text.replace("(", " ").replace(")", " ").replace(",", " ").split())
    constants = {name: array for name, array in WEIGHTS.items() if name in read}
    return build(f"(float[1,3,8,8] x) => (float[n,c,h,w] y) {text}", **constants)


def points_of(build, body, **options):
    """The quantization points between the Convs, by the names of their tensors."""
    points = quantization_points(model_of(build, body).graph, **options)
    return {point.names: point for point in points}


@pytest.mark.parametrize("body", ["last = Relu(first)", "last = Clip(first, zero)"])
def test_relu_is_absorbed(build, body):
    """The Conv before a ReLU has no point of its own, and the grid behind it is unsigned."""
    points = points_of(build, body)
    assert list(points) == [("x",), ("last",), ("middle",), ("y",)]
    assert points["last",].nonnegative


def test_relu6_is_absorbed(build):
    """Clip from 0 to 6 is an integer Clip on every grid it can get."""
    points = points_of(build, "last = Clip(first, zero, six)")
    assert ("first",) not in points
    assert points["last",].nonnegative


@pytest.mark.parametrize(
    "body",
    [
        "last = LeakyRelu(first)",
        "last = Sigmoid(first)",
        "last = Clip(first, zero, small)",
        "last = Clip(first, minus, six)",
        "last = Clip(first, , six)",
    ],
)
def test_other_functions_are_not_absorbed(build, body):
    """Around any other function, a Clip at 0.3 or one below 0 there are two points."""
    points = points_of(build, body)
    assert list(points) == [("x",), ("first",), ("last",), ("middle",), ("y",)]
    assert not points["first",].nonnegative


def test_relu_is_not_absorbed_when_its_input_is_read_elsewhere(build):
    """Somebody else needs the negative values."""
    points = points_of(build, "r = Relu(first) last = Add(first, r)")
    assert list(points) == [("x",), ("first",), ("r",), ("last",), ("middle",), ("y",)]


@pytest.mark.parametrize(
    ("high", "absorbed"), [(6.0, True), (1.0, True), (0.5, True), (0.3, False)]
)
def test_absorption_needs_an_integer_bound(build, high, absorbed):
    """h/Δ must be an integer even on the coarsest grid that may be chosen: 4 bits, one above."""
    model = build("(float[4] x) => (float[4] y) { y = Clip(x, zero, high) }", zero=0.0, high=high)
    assert absorbs_negative(model.graph[0]) is absorbed
    if absorbed:
        exponent = int(np.ceil(np.log2(high))) + 1
        assert (high / Grid(exponent, 4, signed=False).scale).is_integer()


@pytest.mark.parametrize("bound", ["nothing", "low", "high"])
def test_a_computed_bound_is_not_absorbed(build, bound):
    """Bounds that come from outside are unknown."""
    names = {"nothing": "low, high", "low": "zero, high", "high": "low, six"}[bound]
    constants = {name: WEIGHTS[name] for name in ("zero", "six") if name in names}
    free = "".join(f", float {name}" for name in ("low", "high") if name in names)
    model = build(f"(float[4] x{free}) => (float[4] y) {{ y = Clip(x, {names}) }}", **constants)
    assert not absorbs_negative(model.graph[0])


SELECTIONS = {
    "MaxPool": "last = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(first)",
    "Resize": 'last = Resize<mode="nearest">(first, , twice)',
    "linear Resize": 'last = Resize<mode="linear">(first, , twice)',
    "Reshape": "a = Reshape(first, flat) last = Reshape(a, square)",
    "Transpose": "last = Transpose<perm=[0,1,3,2]>(first)",
    "Slice": "last = Slice(first, starts, ends, axes)",
    "Identity": "last = Identity(first)",
}


@pytest.mark.parametrize("body", SELECTIONS.values(), ids=SELECTIONS.keys())
def test_operators_that_select_share_a_grid(build, body):
    """The source's grid serves all that only select from it, and the source comes first."""
    points = list(points_of(build, body))
    names = ("first", "a", "last") if "a =" in body else ("first", "last")
    assert points == [("x",), names, ("middle",), ("y",)]


def test_both_halves_of_a_split_share_the_grid(build):
    """Split, then Concat in the other order: one grid before, another behind."""
    points = list(
        points_of(build, "a, b = Split<axis=1>(first, split) last = Concat<axis=1>(b, a)")
    )
    assert points == [("x",), ("first", "a", "b"), ("last",), ("middle",), ("y",)]


def test_a_cubic_resize_overshoots(build):
    """A cubic interpolation leaves the range of its input and so has a grid of its own."""
    points = list(points_of(build, 'last = Resize<mode="cubic">(first, , twice)'))
    assert points == [("x",), ("first",), ("last",), ("middle",), ("y",)]


def test_parameters_of_a_resize_are_not_quantized(build):
    """Region and scales of a Resize stay what they are, computed or constant."""
    model = build(
        """(float[1,3,8,8] x, float[4] scales, float[8] roi) => (float[n,c,h,w] y) {
            r = Resize<mode="nearest">(x, roi, scales)
            y = Conv(r, w)
        }""",
        w=WEIGHTS["w"],
    )
    points = quantization_points(model.graph)
    assert [point.names for point in points] == [("x", "r"), ("y",)]


def test_indices_of_a_maxpool_are_not_quantized(build):
    """Integers are not quantized."""
    body = "last, indices = MaxPool<kernel_shape=[1,1]>(first)"
    assert list(points_of(build, body)) == [("x",), ("first", "last"), ("middle",), ("y",)]


@pytest.mark.parametrize(
    ("body", "nonnegative"),
    [
        ("last = Sigmoid(first)", True),
        ("last = HardSigmoid(first)", True),
        ("last = Softmax<axis=1>(first)", True),
        ("last = Abs(first)", True),
        ("last = Tanh(first)", False),
        ("last = LeakyRelu(first)", False),
        ("a = Relu(first) last = Add(a, a)", True),
        ("a = Relu(first) last = Add(a, positive)", True),
        ("a = Relu(first) last = Mul(positive, a)", True),
        ("a = Relu(first) last = Add(a, signs)", False),
        ("a = Relu(first) last = Sub(a, positive)", False),
        ("a = Relu(first) last = Mul(a, signs)", False),
        ("a = Sigmoid(first) last = Mul(first, a)", False),
        ("a = Relu(first) last = AveragePool<kernel_shape=[1,1]>(a)", True),
        ("a = Relu(first) b = Sigmoid(first) last = Concat<axis=2>(a, b)", True),
        ("a = Relu(first) last = Concat<axis=2>(a, first)", False),
        ("a = Relu(first) last = MaxPool<kernel_shape=[1,1]>(a)", True),
        ("a = Abs(first) last = Neg(a)", False),
    ],
)
def test_nonnegative_tensors_are_known(build, body, nonnegative):
    """A sign is known from the function, or from every operand of what keeps signs."""
    points = points_of(build, body)
    found = [point.nonnegative for names, point in points.items() if "last" in names]
    assert found == [nonnegative]


def test_pixels_may_be_nonnegative(build):
    """The input's grid is unsigned where the caller knows that pixels are not negative."""
    body = "last = LeakyRelu(first)"
    assert not points_of(build, body)["x",].nonnegative
    assert points_of(build, body, nonnegative_inputs=True)["x",].nonnegative


def test_what_first_and_last_layers_touch(build):
    """The first layers' input, the last layers' inputs and what comes after those."""
    points = points_of(build, "last = LeakyRelu(first)")
    first_last = {names[0]: point.first_last for names, point in points.items()}
    assert first_last == {"x": True, "first": True, "last": True, "middle": True, "y": True}


@pytest.mark.parametrize(
    ("body", "first_last"),
    [
        ("s = Sigmoid(first) a = Mul(first, s) last = Conv(a, v)", {"a", "first", "s"}),
        ("a = Relu(first) last = Conv(a, v)", {"a"}),
        ("a = Abs(first) last = Conv(a, v)", {"first"}),
    ],
)
def test_the_output_of_a_first_layer_counts_to_it(build, body, first_last):
    """It is the tensor behind its activation function, and what stands inside of that."""
    points = points_of(build, body)
    inner = {names[0] for names, point in points.items() if point.first_last}
    assert inner - {"x", "middle", "y"} == first_last


@pytest.mark.parametrize(
    ("body", "joined"),
    [
        ("a = Abs(first) last = Concat<axis=2>(a, first)", {"last"}),
        ("a = Abs(first) b = Concat<axis=2>(a, first) last = Neg(b)", {"b"}),
        ("a = Abs(first) last = Concat<axis=2>(a, bias)", set()),
        ("a = Abs(first) last = Add(a, first)", set()),
    ],
)
def test_what_joins_quantized_tensors(build, body, joined):
    """A Concat of tensors with grids of their own, but not one of a constant, and no sum."""
    points = points_of(build, body)
    assert {names[0] for names, point in points.items() if point.joined} == joined


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("s = Sigmoid(first) last = Mul(first, s)", {"last"}),
        ("last = HardSwish(first)", {"last"}),
        ("last = LeakyRelu(first)", {"last"}),
        ("last = Elu(first)", {"last"}),
        ("last = Relu(first)", set()),
        ("last = Tanh(first)", set()),
        ("a = LeakyRelu(first) last = Add(a, first)", {"a"}),
        ("a = LeakyRelu(first) b = Relu(first) last = Add(a, b)", {"a", "last"}),
        ("a = LeakyRelu(first) b = Abs(first) last = Concat<axis=2>(a, b)", {"a", "last"}),
        ("a = LeakyRelu(first) last = Mul(a, positive)", {"a", "last"}),
        ("a = LeakyRelu(first) last = Mul(a, signs)", {"a"}),
        ("a = LeakyRelu(first) last = Mul(a, a)", {"a"}),
        ("a = LeakyRelu(first) last = Sub(a, positive)", {"a"}),
        ("a = LeakyRelu(first) b = MaxPool<kernel_shape=[1,1]>(a) last = Neg(b)", {"a"}),
    ],
)
def test_slightly_negative_tensors_are_known(build, body, found):
    """What SiLU and its like leave, and what joins, adds, scales or selects only such values."""
    points = points_of(build, body)
    assert {names[0] for names, point in points.items() if point.slightly_negative} == found


def test_what_is_scaled_behind_an_activation_function_is_inside(build):
    """The tensor that counts is the one behind positive factors, not behind negative ones."""
    for factors, internal in (("positive", {"first", "s", "a"}), ("signs", {"first", "s"})):
        body = f"s = Sigmoid(first) a = Mul(first, s) last = Mul(a, {factors})"
        points = points_of(build, body)
        assert {names[0] for names, point in points.items() if point.internal} == internal


def test_kept_nodes_are_left_out(build):
    """A tensor is left out only if all its neighbours are kept; the others still quantize it."""
    body = "a = LeakyRelu(first) b = Tanh(a) last = Sigmoid(b)"
    kept = ["make_a", "make_b"]
    assert list(points_of(build, body, excluded=kept)) == [
        ("x",),
        ("first",),
        ("b",),
        ("last",),
        ("middle",),
        ("y",),
    ]


def test_a_kept_relu_absorbs_nothing(build):
    """When the ReLU stays float, the Conv before it has its own, signed point."""
    points = points_of(build, "last = Relu(first)", excluded=["make_last"])
    assert not points["first",].nonnegative
    assert ("last",) in points


def test_nothing_is_absorbed_into_a_kept_layer(build):
    """A layer that stays float cannot saturate, so that the tensor behind it has its own point."""
    points = points_of(build, "last = Relu(first)", excluded=["make_first"])
    assert ("first",) in points
    assert not points["first",].nonnegative


def test_post_processing_is_left_out(build):
    """The last layer's output is quantized; what is computed from it is not."""
    model = build(
        """(float[1,3,8,8] x) => (float[n,c,h,w] y) {
            a = Conv(x, w)
            b = Sigmoid(a)
            y = Relu(b)
        }""",
        w=WEIGHTS["w"],
    )
    assert [point.names for point in quantization_points(model.graph)] == [("x",), ("a",)]


@pytest.mark.parametrize(
    ("body", "internal"),
    [
        ("last = LeakyRelu(first)", {"first"}),
        ("s = Sigmoid(first) last = Mul(first, s)", {"first", "s"}),
        ("s = Sigmoid(first) last = Mul(s, first)", {"first", "s"}),
        ("last = HardSwish(first)", {"first"}),
        ("s = Sigmoid(first) last = Add(first, s)", set()),
        ("s = Sigmoid(first) m = Mul(first, s) last = Add(m, first)", {"s"}),
        ("s = Sigmoid(first) m = Mul(first, s) last = Add(m, s)", set()),
        ("last = Relu(first)", set()),
        ("last = Abs(first)", set()),
    ],
)
def test_what_stands_inside_an_activation_function(build, body, internal):
    """The input of f that only x·f(x) reads, and f(x) in it, are internal; nothing else is."""
    points = points_of(build, body)
    assert {names[0] for names, point in points.items() if point.internal} == internal


@pytest.mark.parametrize(
    ("tail", "squashed_by"),
    [
        ("y = Sigmoid(a)", "Sigmoid"),
        ("y = Softmax<axis=1>(a)", "Softmax"),
        ("b = Transpose<perm=[0,1,3,2]>(a) y = Sigmoid(b)", "Sigmoid"),
        ("b, c = Split<axis=1>(a, split) d = Sigmoid(b) e = Sigmoid(c) y = Add(d, e)", "Sigmoid"),
        ("b, c = Split<axis=1>(a, split) d = Sigmoid(b) y = Concat<axis=1>(d, c)", ""),
        ("b = Sigmoid(a) c = Softmax<axis=1>(a) y = Add(b, c)", ""),
        ("b = Mul(a, half) y = Sigmoid(b)", ""),
        ("y = MaxPool<kernel_shape=[1,1]>(a)", ""),
        ("y = Tanh(a)", ""),
    ],
)
def test_logits_are_known(build, tail, squashed_by):
    """Only when every way leads into a Sigmoid, or every one into a Softmax, do scores count."""
    read = {"w": "w", "split": "a, split", "half": "a, half"}
    used = {name: WEIGHTS[name] for name, text in read.items() if name == "w" or text in tail}
    model = build(f"(float[1,3,8,8] x) => (float[n,c,h,w] y) {{ a = Conv(x, w) {tail} }}", **used)
    (point,) = [p for p in quantization_points(model.graph) if p.names[0] == "a"]
    assert point.squashed_by == squashed_by


def test_a_logit_that_is_an_output_counts_itself(build):
    """A graph output is looked at by others."""
    model = build(
        """(float[1,3,8,8] x) => (float[n,c,h,w] y, float[n,c,h,w] a) {
            a = Conv(x, w)
            y = Sigmoid(a)
        }""",
        w=WEIGHTS["w"],
    )
    assert [point.squashed_by for point in quantization_points(model.graph)] == ["", ""]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("last = Relu(first)", {("x",), ("last",), ("middle",)}),
        ("a = Sigmoid(first) last = Mul(first, a)", {("x",), ("last",), ("middle",)}),
        (
            "a = Relu(first) last = MaxPool<kernel_shape=[2,2]>(a)",
            {("x",), ("last",), ("middle",)},
        ),
        (
            "a = Relu(first) b = Conv(a, v) c = Add(b, a) last = Relu(c)",
            {("x",), ("a",), ("last",), ("middle",)},
        ),
        (
            "a = MaxPool<kernel_shape=[1,1]>(first) b = Conv(a, v) last = Add(first, b)",
            {("x",), ("first", "a"), ("last",), ("middle",)},
        ),
        (
            "a = Conv(x, w) b = Add(first, a) last = Relu(b)",
            {("x",), ("first",), ("last",), ("middle",)},
        ),
        ("a = Conv(x, w) last = Mul(first, a)", {("x",), ("last",), ("middle",)}),
    ],
)
def test_only_layer_inputs(build, body, expected):
    """Only what layers read has a grid, and the shortcut that is added to the result of one.

    Tensors that select from each other still share one; the last layer's output has none.
    """
    assert set(points_of(build, body, only_layer_inputs=True)) == expected


def test_products_of_computed_matrices_are_layer_inputs(build):
    """Both operands of a MatMul of two tensors are quantized."""
    model = build(
        "(float[2,3,4] x, float[2,4,3] k) => (float[n,m,o] y) "
        "{ a = Relu(x) b = Sigmoid(k) c = MatMul(a, b) y = Sigmoid(c) }"
    )
    points = quantization_points(model.graph, only_layer_inputs=True)
    assert {point.names for point in points} == {("a",), ("b",)}


HEAD = """(float[1,3,4,4] x) => (float[n,a,m] boxes, float[n,b,m] scores) {
    box_logits = Conv(x, box_weight)
    class_logits = Conv(x, class_weight)
    head = Concat<axis=1>(box_logits, class_logits)
    flat = Reshape(head, shape)
    near, far = Split<axis=1>(flat, sizes)
    bins = Reshape(near, binned)
    turned = Transpose<perm=[0,2,1,3]>(bins)
    shares = Softmax<axis=1>(turned)
    boxes = Reshape(shares, unbinned)
    scores = Sigmoid(far)
}"""


def head(rng):
    """A YOLOv8 head: four sides of five bins, six classes, on 16 places."""
    return build_model(
        HEAD,
        box_weight=rng.normal(size=(20, 3, 1, 1)).astype(np.float32),
        class_weight=rng.normal(size=(6, 3, 1, 1)).astype(np.float32),
        shape=np.array([1, 26, 16]),
        sizes=np.array([20, 6]),
        binned=np.array([1, 4, 5, 16]),
        unbinned=np.array([1, 20, 16]),
    )


def squashed_by(model):
    """What squashes the values of each point, by the point's first tensor."""
    return {p.names[0]: p.squashed_by for p in quantization_points(model.graph)}


def test_branches_of_a_head_are_seen_through_after_they_are_split(rng):
    """On one Concat box bins and classes count as they are; apart, each counts as what it becomes.

    The tensor before and after moves of values is meant: Reshape, Transpose, Concat and Split.
    """
    model = head(rng)
    before = squashed_by(model)
    assert before == {"x": "", "box_logits": "", "class_logits": ""}
    SplitBranches()(model)
    RemoveUnusedNodesPass()(model)
    after = squashed_by(model)
    assert after["x"] == ""
    assert after["box_logits"] == "Softmax"
    assert after["class_logits"] == "Sigmoid"


@pytest.mark.parametrize(("columns", "deciding"), [(9, {"r", "b", "s", "f", "p"}), (2, set())])
def test_the_largest_values_decide_before_a_wide_softmax(rng, columns, deciding):
    """From the layer before a Softmax over many values on; over few the bound 1 will do."""
    model = build_model(
        f"""(float[1,3,4,{columns}] x) => (float[n,c] y) {{
            a = Conv(x, w) r = Relu(a) b = Conv(x, w) s = Add(r, b) f = Flatten(s)
            p = Softmax(f) y = MatMul(p, m) }}""",
        w=rng.normal(size=(3, 3, 1, 1)).astype(np.float32),
        m=rng.normal(size=(12 * columns, 2)).astype(np.float32),
    )
    points = quantization_points(model.graph)
    found = {name for point in points if point.decides for name in point.names}
    assert found == deciding


@pytest.mark.parametrize("hidden", [-1e4, float(np.finfo(np.float32).min), -np.inf])
@pytest.mark.parametrize(
    "masking",
    ["s = Add(l, mask)", "s = Where(seen, l, low)", "i = Mul(turned, low) s = Add(l, i)"],
)
def test_masked_logits_stay_float(rng, hidden, masking):
    """No grid holds the mask and the logits, nor do the logits need one; the shares keep theirs."""
    seen = np.tri(4, dtype=bool).reshape(1, 4, 4)
    if "turned" in masking and np.isinf(hidden):
        pytest.skip("0 times infinity is no number")
    arrays = {
        "mask": np.where(seen, 0, hidden).astype(np.float32),
        "low": np.float32(hidden),
        "seen": seen,
    }
    used = {name: array for name, array in arrays.items() if name in masking}
    turned = ", float[1,4,4] turned" if "turned" in masking else ""
    model = build_model(
        f"""(float[1,4,3] x{turned}) => (float[n,m,k] y) {{
            t = Transpose<perm=[0,2,1]>(x) l = MatMul(x, t) {masking}
            p = Softmax<axis=-1>(s) y = MatMul(p, x) }}""",
        **used,
    )
    names = {name for point in quantization_points(model.graph) for name in point.names}
    assert {"x", "p", "y"} <= names
    assert not {"l", "s", "i"} & names
    QuantizeActivations(dict.fromkeys(sorted(names), Grid(2, 8, signed=True)))(model)
    assert "mask" in {v.name for node in model.graph for v in node.inputs} or "mask" not in masking
