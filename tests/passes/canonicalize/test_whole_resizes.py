"""Resize without axes computes what it did with them."""

import numpy as np
import pytest

from passes import WholeResizes

CASES = {
    "scales": ('Resize<axes=[2,3], mode="nearest">(x, , f)', {"f": np.float32([2, 3])}, "1,2,6,5"),
    "axes counted from the end": (
        'Resize<axes=[-1,-2], mode="linear">(x, , f)',
        {"f": np.float32([2, 1.5])},
        "1,2,6,5",
    ),
    "sizes": ('Resize<axes=[2,3], mode="linear">(x, , , s)', {"s": np.array([9, 4])}, "1,2,6,5"),
    "antialias": (
        'Resize<axes=[2,3], mode="linear", antialias=1>(x, , , s)',
        {"s": np.array([3, 5])},
        "1,2,8,8",
    ),
    "open batch": (
        'Resize<axes=[2,3], mode="linear">(x, , , s)',
        {"s": np.array([9, 4])},
        "n,2,6,5",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_stay(build, run, rng, case):
    """To the last bit, and nothing is left to do."""
    call, arrays, shape = CASES[case]
    model = build(f"(float[{shape}] x) => (float[m,c,h,w] y) {{ y = {call} }}", **arrays)
    sizes = [int(n) if n.isdigit() else 3 for n in shape.split(",")]
    x = rng.normal(size=sizes).astype(np.float32)
    before = run(model, x=x)["y"]
    assert WholeResizes()(model).modified
    assert "axes" not in model.graph[0].attributes
    np.testing.assert_array_equal(run(model, x=x)["y"], before)
    assert not WholeResizes()(model).modified


def test_sizes_that_no_scale_gives_back_are_written_out(build, run, rng):
    """Where float32 loses a pixel, all sizes are given, or the axes stay."""
    call = 'Resize<axes=[2], mode="linear">(x, , , s)'
    pairs = [(n, m) for n in range(2, 200) for m in range(2, 200)]
    lost = [
        (n, m) for n, m in pairs if np.floor(np.float32(n) * (np.float32(m) / np.float32(n))) != m
    ]
    before, after = lost[0]
    model = build(
        f"(float[1,2,{before},3] x) => (float[m,c,h,w] y) {{ y = {call} }}", s=np.array([after])
    )
    x = rng.normal(size=(1, 2, before, 3)).astype(np.float32)
    expected = run(model, x=x)["y"]
    assert WholeResizes()(model).modified
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)
    model = build(
        f"(float[n,2,{before},3] x) => (float[m,c,h,w] y) {{ y = {call} }}", s=np.array([after])
    )
    assert not WholeResizes()(model).modified


@pytest.mark.parametrize(
    "attributes",
    [
        'keep_aspect_ratio_policy="not_larger"',
        'coordinate_transformation_mode="tf_crop_and_resize"',
    ],
)
def test_what_depends_on_the_axes_is_declined(build, attributes):
    """A policy for the aspect ratio looks at the named axes, a roi is of them."""
    roi = "r" if "crop" in attributes else ""
    arrays = {"s": np.array([9, 4])} | ({"r": np.zeros(4, np.float32)} if roi else {})
    model = build(
        f"""(float[1,2,6,5] x) => (float[m,c,h,w] y) {{
            y = Resize<axes=[2,3], mode="linear", {attributes}>(x, {roi}, , s) }}""",
        **arrays,
    )
    assert not WholeResizes()(model).modified
