"""Tensors inside of a model."""

import numpy as np

from tests.diagnosed import canonical, tensors
from tests.passes.helpers import run_model
from zqc.diagnosis.inner_tensors import Samples, exposing


def test_inner_tensors_become_outputs_of_a_copy():
    """Each once, behind those that are there; the model itself has the same as before."""
    model = canonical(bits=8)
    inner = next(iter(model.graph)).outputs[0].name
    copy = exposing(model, [inner, "boxes", inner])
    assert [value.name for value in copy.graph.outputs] == ["boxes", "scores", inner]
    assert [value.name for value in model.graph.outputs] == ["boxes", "scores"]
    plain, seen = (run_model(each, images=tensors()) for each in (model, copy))
    assert inner in seen
    for name, array in plain.items():
        np.testing.assert_array_equal(seen[name], array)


def test_small_tensors_are_kept_whole(rng):
    """Batch behind batch, as float32."""
    arrays = rng.normal(size=(2, 3, 4))
    samples = Samples(["a"])
    for array in arrays:
        samples.add({"a": array, "other": array})
    kept = samples.of_all()
    assert list(kept) == ["a"]
    assert kept["a"].dtype == np.float32
    np.testing.assert_array_equal(kept["a"], arrays.reshape(-1).astype(np.float32))


def test_of_large_tensors_some_values_are_kept(rng):
    """8192 of each batch, with the distribution of all."""
    array = rng.normal(size=(4, 100, 100)).astype(np.float32)
    samples = Samples(["a"])
    samples.add({"a": array[:2]})
    samples.add({"a": array[2:]})
    kept = samples.of_all()["a"]
    assert kept.shape == (2 * 8192,)
    assert np.isin(kept, array).all()
    assert abs(kept.std() - array.std()) < 0.03


def test_samples_are_the_same_in_whatever_order_names_come(rng):
    """A set of names has another order in each process."""
    arrays = {name: rng.normal(size=20000) for name in ("a", "b", "c")}
    one, other = Samples(["a", "b", "c"]), Samples(["c", "a", "b", "a"])
    for samples in (one, other):
        samples.add(arrays)
    for name, kept in one.of_all().items():
        np.testing.assert_array_equal(kept, other.of_all()[name])
