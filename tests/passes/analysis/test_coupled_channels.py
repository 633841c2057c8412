"""Which channels share a factor, and why some must keep their scale."""

import numpy as np
import pytest

from passes.analysis.coupled_channels import coupled_channels


def analyse(build, body, outputs="float[n,c,h,w] y", **arrays):
    """Ids and reasons of a graph, by name of the tensor."""
    arrays.setdefault("w", np.ones((4, 3, 1, 1), np.float32))
    arrays.setdefault("v", np.ones((2, 4, 1, 1), np.float32))
    model = build(f"(float[1,3,6,6] x) => ({outputs}) {{ a = Conv(x, w) {body} }}", **arrays)
    coupled = coupled_channels(model.graph)
    ids = {value.name: list(numbers) for value, numbers in coupled.ids.items()}
    free = {n: [number not in coupled.reasons for number in numbers] for n, numbers in ids.items()}
    return ids, free


def test_a_chain_shares_its_numbers(build):
    """Channels keep their numbers through ReLU and a pool and end at the layer behind."""
    ids, free = analyse(build, "r = Relu(a) p = GlobalAveragePool(r) y = Conv(p, v)")
    assert ids["a"] == ids["r"] == ids["p"]
    assert len(set(ids["a"])) == 4
    assert not set(ids["a"]) & set(ids["y"])
    assert all(free["a"])
    assert not any(free["y"])
    assert not any(free["x"])


def test_concat_and_split_move_numbers(build):
    """The channels of a part are those it was made of."""
    ids, _ = analyse(
        build,
        "b = Conv(x, w) c = Concat<axis=1>(a, b) p, q = Split<axis=1>(c, parts) y = Conv(p, v6)",
        "float[n,c,h,w] y, float[n2,c2,h2,w2] q",
        parts=np.array([6, 2]),
        v6=np.ones((2, 6, 1, 1), np.float32),
    )
    assert ids["c"] == ids["a"] + ids["b"]
    assert ids["p"] + ids["q"] == ids["c"]


def test_a_part_that_is_held_holds_nothing_else(build):
    """Of a Split only the channels that an output shows keep their scale."""
    _, free = analyse(
        build,
        "p, q = Split<axis=1>(a, parts) y = Conv(p, v1)",
        "float[n,c,h,w] y, float[n2,c2,h2,w2] q",
        parts=np.array([1, 3]),
        v1=np.ones((2, 1, 1, 1), np.float32),
    )
    assert free["a"] == [True, False, False, False]


def test_an_addition_ties_its_terms(build):
    """Terms and sum share their numbers, whichever came first; what holds one holds all."""
    ids, free = analyse(build, "b = Conv(x, w) s = Add(b, a) y = Conv(s, v)")
    assert ids["a"] == ids["b"] == ids["s"]
    assert all(free["a"])
    _, free = analyse(build, "b = Conv(x, w) t = Tanh(b) s = Add(a, t) y = Conv(s, v)")
    assert not any(free["a"])


@pytest.mark.parametrize(("mode", "same"), [("DCR", (0, 2, 4, 6)), ("CRD", (0, 1, 2, 3))])
def test_a_shuffle_ties_the_phases(build, mode, same):
    """The channels that become pixels of one share its number."""
    ids, free = analyse(
        build,
        f'b = Conv(x, w8) s = DepthToSpace<blocksize=2, mode="{mode}">(b) y = Conv(s, v2)',
        w8=np.ones((8, 3, 1, 1), np.float32),
        v2=np.ones((3, 2, 1, 1), np.float32),
    )
    assert {ids["b"][channel] for channel in same} == {ids["s"][0]}
    assert len(set(ids["b"])) == 2
    assert all(free["s"])


def test_a_gate_does_not_hold_what_it_multiplies(build):
    """x·g with g of fixed scale scales as x does; x·y with two free factors is held."""
    own = {"u": np.ones((4, 3, 1, 1), np.float32)}
    ids, free = analyse(build, "b = Conv(x, u) g = Sigmoid(b) m = Mul(g, a) y = Conv(m, v)", **own)
    assert ids["m"] == ids["a"]
    assert all(free["a"])
    assert not any(free["b"])
    _, free = analyse(build, "b = Conv(x, u) m = Mul(b, a) y = Conv(m, v)", **own)
    assert not any(free["a"] + free["b"])


def test_a_break_starts_afresh(build):
    """Behind a product whose constant makes up for it, channels are free whatever is before."""
    arrays = {"w": np.ones((4, 3, 1, 1), np.float32), "v": np.ones((2, 4, 1, 1), np.float32)}
    model = build(
        "(float[1,3,6,6] x) => (float[n,c,h,w] y) "
        "{ a = Conv(x, w) t = Tanh(a) m = Mul(t, ones) y = Conv(m, v) }",
        ones=np.ones((1, 4, 1, 1), np.float32),
        **arrays,
    )
    (product,) = [node for node in model.graph if node.op_type == "Mul"]
    for breaks, free in (((), False), ((product,), True)):
        coupled = coupled_channels(model.graph, breaks)
        numbers = coupled.ids[product.outputs[0]]
        assert all((number not in coupled.reasons) == free for number in numbers)
        assert all(number in coupled.reasons for number in coupled.ids[product.inputs[0]])


HELD = {
    "MatMul": "t = MatMul(a, square) y = Conv(t, v)",
    "Concat of other channels in space": "b = Conv(x, w) c = Concat<axis=2>(a, b) y = Conv(c, v)",
    "Transpose": "t = Transpose<perm=[0,1,3,2]>(a) y = Conv(t, v)",
    "Pad with ones": "p = Pad(a, pads, one) y = Conv(p, v)",
    "Pad of channels": "p = Pad(a, more) s = Slice(p, ones, fives, ones) y = Conv(s, v)",
    "broadcast over channels": "k = Conv(x, k1) s = Add(a, k) y = Conv(s, v)",
    "broadcast constant": "k = Conv(x, k1) s = Mul(k, four) y = Conv(s, v)",
    "quotient": "r = Div(four, a) y = Conv(r, v)",
    "computed slope": "b = Conv(x, w) p = PRelu(a, b) y = Conv(p, v)",
    "computed bound": "h = ReduceMax<keepdims=0>(x) c = Clip(a, zero, h) y = Conv(c, v)",
    "negative bound": "c = Clip(a, minus, zero) y = Conv(c, v)",
    "computed bias": "b = ReduceMax<keepdims=0>(x, axes) c = Conv(a, v4, b) y = Conv(c, v)",
}


@pytest.mark.parametrize("body", HELD.values(), ids=HELD.keys())
def test_what_is_not_positively_homogeneous_holds(build, body):
    """Every other operator, and every form of a supported one that is not exact."""
    arrays = {
        "square": np.ones((6, 6), np.float32),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "more": np.array([0, 1, 0, 0, 0, 1, 0, 0]),
        "ones": np.array([1]),
        "fives": np.array([5]),
        "one": 1.0,
        "zero": 0.0,
        "minus": -1.0,
        "k1": np.ones((1, 3, 1, 1), np.float32),
        "v4": np.ones((4, 4, 1, 1), np.float32),
        "four": np.ones((1, 4, 1, 1), np.float32),
        "axes": np.array([0, 2, 3]),
    }
    tokens = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    _, free = analyse(build, body, **{k: v for k, v in arrays.items() if k in tokens})
    held = free["k"] if "k" in free and "four" in tokens else free["a"]
    assert not any(held)


def test_readers_of_one_weight_share_their_factors(build, rng):
    """Inputs with inputs and outputs with outputs; one that is held holds the other."""
    other = rng.normal(size=(4, 3, 1, 1)).astype(np.float32)
    body = "b = Conv(x, u) c = Conv(a, v) d = Conv(b, v)"
    ids, free = analyse(build, f"{body} y = Concat<axis=1>(c, d)", u=other)
    assert ids["a"] == ids["b"]
    assert ids["c"] == ids["d"]
    assert all(free["a"])
    ids, free = analyse(build, f"{body} s = Sigmoid(b) y = Concat<axis=1>(c, d, s)", u=other)
    assert not any(free["a"])


def test_a_reader_without_factors_holds_the_others(build, rng):
    """A computed bias lets no factor through, so that the shared weight has none."""
    other = rng.normal(size=(4, 3, 1, 1)).astype(np.float32)
    body = "b = Conv(x, u) m = Relu(bias) c = Conv(a, v) d = Conv(b, v, m)"
    bias = np.ones(2, np.float32)
    _, free = analyse(build, f"{body} y = Concat<axis=1>(c, d)", u=other, bias=bias)
    assert not any(free["a"])
    assert not any(free["c"])
