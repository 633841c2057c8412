"""Nearest-neighbour enlargement as copies."""

import itertools

import numpy as np
import pytest

from passes import IntegerResizes
from tests.passes.helpers import build_model, operator_types, run_model


def between_pairs(
    *,
    mode="nearest",
    coordinates="asymmetric",
    nearest="floor",
    size="3,5",
    scales=(1, 1, 2, 3),
    sizes=None,
    after="s, z",
):
    """Return a net of a Resize between two pairs."""
    inputs = ", f" if sizes is None else ", , f"
    values = np.float32(scales) if sizes is None else np.int64(sizes)
    return build_model(
        f"""(float[N,4,{size}] x) => (float[n,4,h,w] y) {{
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            r = Resize<mode="{mode}", coordinate_transformation_mode="{coordinates}",
                       nearest_mode="{nearest}">(d, {inputs})
            p = QuantizeLinear(r, {after})
            y = DequantizeLinear(p, {after})
        }}""",
        f=values,
        s=0.25,
        z=np.uint8(128),
        other=np.uint8(127),
    )


COORDINATES = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")
NEAREST = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


@pytest.mark.parametrize(("coordinates", "nearest"), list(itertools.product(COORDINATES, NEAREST)))
def test_copies_where_it_repeats(rng, coordinates, nearest):
    """Whatever mode is rewritten gives the same values; the modes of exporters are rewritten."""
    model = between_pairs(coordinates=coordinates, nearest=nearest)
    x = rng.normal(0, 8, (2, 4, 3, 5)).astype(np.float32)
    expected = run_model(model, x=x)["y"]
    modified = IntegerResizes()(model).modified
    np.testing.assert_array_equal(run_model(model, x=x)["y"], expected)
    assert modified == ("Resize" not in operator_types(model))
    usual = {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor")}
    assert modified or (coordinates, nearest) not in usual


@pytest.mark.parametrize(
    "given",
    [
        {"sizes": (2, 4, 6, 5)},
        {"sizes": (2, 4, 3, 10)},
        {"scales": (1, 1, 1, 1)},
        {"scales": (1, 1, 4, 1)},
    ],
)
def test_sizes_and_single_axes(rng, given):
    """Sizes do as well as factors, and one axis may stay."""
    model = between_pairs(**given)
    x = rng.normal(0, 8, (2, 4, 3, 5)).astype(np.float32)
    expected = run_model(model, x=x)["y"]
    assert IntegerResizes()(model).modified
    np.testing.assert_array_equal(run_model(model, x=x)["y"], expected)


@pytest.mark.parametrize(
    "declined",
    [
        {"mode": "linear"},
        {"after": "s, other"},
        {"size": "h,w"},
        {"scales": (1, 1, 2.1, 3)},
        {"sizes": (2, 4, 7, 5)},
        {"scales": (1, 2, 2, 2)},
    ],
)
def test_it_declines(declined):
    """Other modes, grids and sizes stay a Resize."""
    model = between_pairs(**declined)
    assert not IntegerResizes()(model).modified
