"""The calibration set in the batches that a model takes."""

import numpy as np
import pytest

from tests.passes.helpers import build_model
from zqc.pictures.batches import Batches
from zqc.pictures.images import ImageSet


def batches_of(count, size):
    """So many pictures, each of its own number, for a model of that batch."""
    tensors = np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1)
    model = build_model(f"(float[{size},1,1,1] x) => (float[{size},1,1,1] y) {{ y = Neg(x) }}")
    return Batches.of(ImageSet.of_tensors(tensors, "numbers"), model)


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(10, "N", [list(range(8)), [8, 9]]), (3, "N", [[0, 1, 2]]), (4, 3, [[0, 1, 2], [3, 3, 3]])],
)
def test_a_model_gets_what_it_takes(count, size, expected):
    """Eight at once where the batch is open; a fixed batch is filled up by repetition."""
    batches = batches_of(count, size)
    assert [batch.reshape(-1).tolist() for batch in batches] == expected
    assert [batch.reshape(-1).tolist() for batch in batches] == expected  # and once more
    assert len(batches) == count


@pytest.mark.parametrize(("count", "asked", "expected"), [(24, 9, 2), (24, 8, 1), (4, 9, 1)])
def test_first_pictures(count, asked, expected):
    """So many batches that there are enough pictures, or all."""
    assert len(batches_of(count, "N").first(asked)) == expected


def test_kinds_are_in_batches_of_their_own():
    """No batch has pictures of two kinds; a fixed batch is filled up with its own kind."""
    tensors = np.arange(5, dtype=np.float32).reshape(-1, 1, 1, 1)
    pictures = ImageSet.of_tensors(tensors, "numbers", synthesised=True, noise=2)
    kinds = Batches(pictures, size=4, fills=True).kinds
    numbers = [[batch.reshape(-1).tolist() for batch in kind] for kind in kinds]
    assert numbers == [[[0, 1, 2, 0]], [[3, 4, 3, 4]]]
