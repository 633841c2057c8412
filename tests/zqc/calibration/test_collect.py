"""Statistics of tensors over pictures."""

import weakref

import numpy as np
import pytest

from passes.graph import with_outputs
from tests.passes.helpers import build_model, run_model
from tests.tasks import Counter
from zqc.calibration.collect import collect
from zqc.calibration.histogram import add, empty
from zqc.calibration.second_moments import input_moments
from zqc.errors import RuntimeFailure
from zqc.progress import Silent

NET = """(float[n,3,6,6] x) => (float[n,2] y) {
    a = Conv<pads=[1,1,1,1]>(x, w, b)
    r = Relu(a)
    p = GlobalAveragePool(r)
    f = Flatten(p)
    y = Gemm(f, g)
}"""
TENSORS = ["x", "r", "f", "y"]


@pytest.fixture
def model(rng):
    """A Conv and a Gemm."""
    return build_model(
        NET,
        w=rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        b=rng.normal(size=4).astype(np.float32),
        g=rng.normal(size=(4, 2)).astype(np.float32),
    )


@pytest.fixture
def pictures(rng):
    """Seven pictures."""
    return rng.normal(0.4, 1, (7, 3, 6, 6)).astype(np.float32)


def gather(model, batches, tensors=TENSORS, *, samples=36, task=None):
    """Collect on one thread."""
    with Silent().task("", 0) as nothing:
        return collect(model, tensors, [batches], samples=samples, task=task or nothing, threads=1)


def test_statistics_are_those_of_one_direct_run(model, pictures):
    """Batches of uneven size give the counts and, within 1e-6, the means of all at once."""
    task = Counter()
    seen = gather(model, iter([pictures[:3], pictures[3:4], pictures[4:]]), task=task)
    assert task.steps == 7
    direct = run_model(with_outputs(model, TENSORS[1:]), x=pictures) | {"x": pictures}
    assert list(seen.tensors) == TENSORS
    for name in TENSORS:
        values = direct[name]
        expected = add(empty(), values)
        histogram = seen.tensors[name].histogram
        assert (histogram.exponent, histogram.counts.sum()) == (expected.exponent, values.size)
        # A last bit may differ between batch sizes: cumulative counts move by a value or two.
        moved = np.abs(np.cumsum(histogram.counts) - np.cumsum(expected.counts))
        assert moved.max() <= 2
        mean = values.mean(axis=(0, *range(2, values.ndim)), dtype=np.float64)
        np.testing.assert_allclose(seen.tensors[name].mean, mean, rtol=1e-6, atol=1e-7)


def test_kinds_are_apart_in_histograms_and_moments(model, pictures):
    """Counts are those of each kind, and together those of all, as means and moments (1e-5)."""
    with Silent().task("", 0) as task:
        kinds = [[pictures[:2]], [pictures[2:5], pictures[5:]]]
        seen = collect(model, TENSORS, kinds, samples=36, task=task, threads=1)
    whole = gather(model, [pictures[:2], pictures[2:5], pictures[5:]])
    for name in TENSORS:
        of_kinds, expected = seen.tensors[name], whole.tensors[name]
        assert len(of_kinds.histograms) == 2
        assert of_kinds.histogram is of_kinds.histogram
        np.testing.assert_array_equal(of_kinds.histogram.counts, expected.histogram.counts)
        np.testing.assert_array_equal(of_kinds.mean, expected.mean)
    for part, kind in zip(seen.tensors["x"].histograms, (pictures[:2], pictures[2:]), strict=True):
        np.testing.assert_array_equal(part.counts, add(empty(), kind).counts)
    assert [fold["make_a"].samples for fold in seen.folds] == [2 * 36, 5 * 36]
    assert [fold["make_a"].samples for fold in whole.folds] == [4 * 36, 3 * 36]
    for layer, values in whole.moments.items():
        np.testing.assert_allclose(seen.moments[layer], values, rtol=1e-5)


def test_counts_of_the_input_are_exact(model, pictures):
    """What needs no computation is counted without any difference."""
    seen = gather(model, [pictures[:5], pictures[5:]], ["x"])
    np.testing.assert_array_equal(seen.tensors["x"].histogram.counts, add(empty(), pictures).counts)


def test_moments_are_those_of_the_layers_inputs(model, pictures):
    """The layers have moments near those of every position, as many samples are drawn (15 %)."""
    seen = gather(model, [pictures[:3], pictures[3:]], samples=3000)
    assert set(seen.moments) == {"make_a", "make_y"}
    conv, gemm = model.graph[0], model.graph[-1]
    features = run_model(with_outputs(model, ["f"]), x=pictures)["f"]
    for node, values, count in ((conv, pictures, 7 * 36), (gemm, features, 7)):
        exact = input_moments(node, values, (np.arange(count) + 0.5) / count)
        difference = np.linalg.norm(seen.moments[node.name] - exact)
        assert difference <= 0.15 * np.linalg.norm(exact)


def test_layers_whose_input_was_not_asked_for_have_no_moments(model, pictures):
    """Only layers that read one of the tensors are looked at."""
    assert set(gather(model, [pictures], ["x"]).moments) == {"make_a"}
    assert set(gather(model, [pictures], ["r"]).moments) == set()


def test_the_same_pictures_give_the_same_statistics(model, pictures):
    """The sampled positions are the same every time."""
    first, second = (gather(model, [pictures[:4], pictures[4:]]) for _ in range(2))
    for name, values in first.moments.items():
        np.testing.assert_array_equal(values, second.moments[name])


def test_batches_are_forgotten(model, pictures):
    """However many batches come, no more than the last one is held."""
    alive = []

    def batches():
        for index in range(6):
            assert sum(reference() is not None for reference in alive) <= 1
            batch = pictures[index : index + 1].copy()
            alive.append(weakref.ref(batch))
            yield batch
            del batch

    gather(model, batches())
    assert len(alive) == 6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_tensor_that_is_no_number_is_an_error(model, pictures, bad):
    """The message names the tensor and the options that usually are the cause."""
    pictures[2, 0, 0, 0] = bad
    with pytest.raises(RuntimeFailure, match=r"'x' became infinite.*--input-range"):
        gather(model, [pictures])
    with pytest.raises(RuntimeFailure, match="'r'"):
        gather(model, [pictures], ["r"])


def test_a_vector_has_one_mean(rng):
    """Below rank 2 there are no channels."""
    model = build_model("(float[n] x) => (float[n] y) { y = Neg(x) }")
    x = rng.normal(size=5).astype(np.float32)
    seen = gather(model, [x], ["x", "y"])
    np.testing.assert_allclose(seen.tensors["y"].mean, [-x.mean(dtype=np.float64)], rtol=1e-12)


def test_with_outputs_leaves_the_model_alone(model):
    """The copy has the outputs that were asked for, the model its own."""
    copy = with_outputs(model, ["r", "a"])
    assert [value.name for value in copy.graph.outputs] == ["r", "a"]
    assert [value.name for value in model.graph.outputs] == ["y"]
