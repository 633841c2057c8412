"""What is left of BatchNormalization becomes a depthwise Conv."""

import numpy as np
import pytest

from passes import BatchNormToConv


def model_of(build, rng, shape):
    """A BatchNorm of three channels on the graph's input."""
    size = ",".join(map(str, shape))
    return build(
        f"""(float[{size}] x) => (float[{size}] y) {{
            y = BatchNormalization<epsilon=0.01>(x, gamma, beta, mean, variance)
        }}""",
        gamma=rng.uniform(-2, 2, 3).astype(np.float32),
        beta=rng.normal(size=3).astype(np.float32),
        mean=rng.normal(size=3).astype(np.float32),
        variance=rng.uniform(0.01, 3, 3).astype(np.float32),
    )


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 4), (1, 3, 2, 3, 4)])
def test_every_number_of_spatial_dimensions(build, run, error, operators, rng, shape):
    """Rank 3, 4 and 5 become a Conv of kernel 1 with the same values (relative 1e-6)."""
    model = model_of(build, rng, shape)
    x = rng.normal(size=shape).astype(np.float32)
    before = run(model, x=x)
    assert BatchNormToConv()(model).modified
    assert operators(model) == ["Conv"]
    assert model.graph.outputs[0].name == "y"
    assert error(before, run(model, x=x)) < 1e-6


def test_a_vector_is_left_alone(build, operators, rng):
    """There is no Conv without a spatial dimension."""
    model = model_of(build, rng, (2, 3))
    assert not BatchNormToConv()(model).modified
    assert operators(model) == ["BatchNormalization"]
