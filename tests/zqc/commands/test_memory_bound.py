"""What the bound on memory means for calibration and synthesis."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from tests.heard import Heard
from tests.passes.helpers import build_model
from zqc.commands.memory_bound import asked_memory, batches_within, synthesis_threads
from zqc.errors import OptionError
from zqc.pictures.images import ImageSet
from zqc.pictures.memory import MEMORY
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe

MODEL = build_model(
    "(float[N,1,1,1] x) => (float[N,100,1000,1000] z) "
    "{ s = Constant<value = int64[4] {1, 100, 1000, 1000}>() z = Expand(x, s) }"
)
"""400 MB for a picture."""


@pytest.fixture
def pictures():
    """Nine of one pixel."""
    return ImageSet.of_tensors(np.zeros((9, 1, 1, 1), np.float32), "zeros")


@pytest.mark.parametrize(
    ("memory", "fields", "size", "said"),
    [
        (MEMORY, {}, 3, False),
        (MEMORY, {"bits": 4, "act_bits": 4}, 1, False),
        (2 * 10**9, {"bits": 4, "act_bits": 4}, 1, True),
        (10**11, {}, 8, False),
    ],
)
def test_batches(pictures, memory, fields, size, said):
    """As many at once as fit, fewer where all values have gradients; too little is said."""
    heard, plan = Heard(), replace(Plan.of(Recipe(**fields)), memory=memory)
    assert batches_within(plan, pictures, MODEL, heard).size == size
    assert bool(heard.said) == said
    expected = "one picture at a time takes about 2.8 GB of memory, more than the 2.0 GB of --m"
    assert all(expected in one for one in heard.said)


def test_a_fixed_batch(pictures):
    """It is taken as it is, by each thread of the synthesis too, and said to be too much."""
    heard, model, plan = Heard(), MODEL.clone(), Plan.of(Recipe())
    model.graph.inputs[0].shape = ir.Shape([8, 1, 1, 1])
    assert batches_within(plan, pictures, model, heard).size == 8
    assert "the 8 pictures of the fixed batch at a time takes about 8.0 GB" in heard.said[0]
    assert synthesis_threads(model, 16, 20 * 10**9) == 2


@pytest.mark.parametrize(("memory", "threads"), [(10**9, 1), (MEMORY, 1), (5 * 10**9, 2)])
def test_threads_of_the_synthesis(memory, threads):
    """Each of them holds two pictures; one is always there, and no more than asked for."""
    assert synthesis_threads(MODEL, 16, memory) == threads
    assert synthesis_threads(MODEL, 3, 10**12) == 3


def test_what_is_asked_for():
    """Nothing is the usual bound; what is no amount of memory is refused by name."""
    assert asked_memory(None) == MEMORY
    assert asked_memory("2GB") == 2 * 10**9
    with pytest.raises(OptionError, match="memory is 'much', but must be an amount"):
        asked_memory("much")
