"""Rows for convolutions, pools and Resize."""

from __future__ import annotations

from tests.zqc.autodiff.case import Case, f32


def convolutions() -> list[Case]:
    """Return Conv and ConvTranspose in every geometry."""
    two = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    return [
        Case("Conv", ((2, 3, 6, 7), (4, 3, 3, 3), (4,))),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 3, 3)), constants=(1,)),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 1, 1), (4,))),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 1, 1)), {"strides": [2, 3]}),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 3, 3), (4,)), {"pads": [1, 1, 1, 1]}),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 3, 2)), {"pads": [1, 0, 2, 1]}),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 3, 3)), {"pads": [3, 3, 4, 3]}),
        Case("Conv", ((2, 3, 6, 7), (4, 3, 3, 3), (4,)), two),
        Case("Conv", ((2, 3, 7, 6), (4, 3, 3, 3)), {"strides": [2, 3], "pads": [1, 1, 0, 0]}),
        Case("Conv", ((1, 2, 9, 9), (3, 2, 2, 2)), {"strides": [4, 3]}),
        Case("Conv", ((2, 3, 9, 9), (4, 3, 3, 3)), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
        Case("Conv", ((2, 3, 9, 9), (4, 3, 3, 3)), {"dilations": [2, 2], **two}),
        Case("Conv", ((2, 4, 6, 6), (6, 2, 3, 3), (6,)), {"group": 2, "pads": [1] * 4}),
        Case("Conv", ((2, 4, 6, 6), (6, 2, 3, 3)), {"group": 2, "pads": [1] * 4}, constants=(1,)),
        Case("Conv", ((2, 4, 6, 6), (6, 2, 3, 3)), {"group": 2, **two}),
        Case("Conv", ((2, 4, 6, 6), (4, 1, 3, 3), (4,)), {"group": 4, "pads": [1] * 4}),
        Case("Conv", ((2, 4, 6, 6), (4, 1, 3, 3)), {"group": 4, "pads": [1] * 4}, constants=(1,)),
        Case("Conv", ((2, 4, 6, 6), (4, 1, 3, 3)), {"group": 4, **two}),
        Case("Conv", ((2, 4, 6, 6), (8, 1, 3, 3)), {"group": 4, "pads": [1] * 4}),
        Case("Conv", ((2, 3, 8), (4, 3, 3), (4,)), {"pads": [1, 1]}),
        Case("Conv", ((2, 3, 8), (4, 3, 3)), {"strides": [2], "dilations": [2]}),
        Case("Conv", ((1, 2, 4, 4, 4), (3, 2, 2, 2, 2)), {"pads": [1] * 6}),
        Case("Conv", ((2, 3, 7, 6), (4, 3, 3, 3)), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        Case("Conv", ((2, 3, 7, 6), (4, 3, 2, 4)), {"auto_pad": "SAME_LOWER"}),
        Case("Conv", ((2, 3, 7, 6), (4, 3, 3, 3)), {"auto_pad": "VALID"}),
        Case("ConvTranspose", ((2, 3, 5, 4), (3, 4, 3, 3), (4,))),
        Case("ConvTranspose", ((2, 3, 5, 4), (3, 4, 3, 3)), {"pads": [1, 1, 1, 1]}),
        Case("ConvTranspose", ((2, 3, 5, 4), (3, 4, 2, 2), (4,)), {"strides": [2, 2]}),
        Case("ConvTranspose", ((2, 3, 5, 4), (3, 4, 3, 3)), {**two, "output_padding": [1, 0]}),
        Case(
            "ConvTranspose",
            ((1, 2, 4, 4), (2, 3, 3, 3)),
            {
                "strides": [3, 2],
                "dilations": [3, 2],
                "output_padding": [2, 1],
                "pads": [1, 0, 0, 1],
            },
        ),
        Case("ConvTranspose", ((2, 4, 5, 4), (4, 3, 3, 3), (6,)), {"group": 2, **two}),
        Case("ConvTranspose", ((2, 4, 5, 4), (4, 1, 3, 3)), {"group": 4}),
        Case("ConvTranspose", ((2, 3, 6), (3, 4, 3), (4,)), {"strides": [2], "pads": [1, 0]}),
        Case("ConvTranspose", ((1, 2, 4, 4), (2, 3, 3, 3)), {"dilations": [2, 1]}),
        Case(
            "ConvTranspose",
            ((1, 2, 4, 4), (2, 3, 3, 3)),
            {"strides": [2, 2], "output_shape": [8, 7]},
        ),
        Case(
            "ConvTranspose",
            ((1, 2, 4, 4), (2, 3, 3, 3)),
            {"strides": [2, 2], "output_shape": [8, 8], "auto_pad": "SAME_UPPER"},
        ),
        Case(
            "ConvTranspose",
            ((1, 2, 4, 4), (2, 3, 4, 3)),
            {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
        ),
    ]


def pools() -> list[Case]:
    """Return the pools in every geometry."""
    rows = [Case("GlobalAveragePool", ((2, 3, 4, 5),)), Case("GlobalAveragePool", ((2, 3, 4),))]
    rows.append(Case("GlobalMaxPool", ((2, 3, 4, 5),), domain="spaced"))
    geometries: list[tuple[tuple[int, ...], dict[str, object]]] = [
        ((2, 2, 6, 8), {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ((2, 2, 6, 9), {"kernel_shape": [2, 3], "strides": [2, 3]}),
        ((2, 2, 7, 7), {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ((2, 2, 7, 6), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
        ((2, 2, 6, 6), {"kernel_shape": [3, 3]}),
        ((2, 2, 6, 6), {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}),
        ((2, 2, 7, 6), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ((1, 2, 8, 8), {"kernel_shape": [3, 2], "strides": [3, 2], "pads": [1, 0, 0, 1]}),
        ((1, 2, 8, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        (
            (1, 2, 8, 8),
            {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
        ),
        ((1, 2, 9, 9), {"kernel_shape": [2, 2], "strides": [3, 4]}),
        ((2, 2, 8), {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
        ((2, 2, 8), {"kernel_shape": [2], "strides": [2]}),
        ((1, 2, 4, 4, 4), {"kernel_shape": [2, 2, 2], "strides": [2, 1, 2]}),
        ((1, 2, 6, 6), {"kernel_shape": [1, 3]}),
        ((1, 2, 6, 6), {"kernel_shape": [1, 1], "strides": [2, 2]}),
        ((1, 2, 6, 6), {"kernel_shape": [1, 1]}),
        ((1, 2, 6, 7), {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}),
        ((1, 2, 7, 6), {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ]
    for shape, options in geometries:
        rows.append(Case("MaxPool", (shape,), options, "spaced"))
        rows.append(Case("AveragePool", (shape,), options, opset=19))
        rows.append(Case("AveragePool", (shape,), {**options, "count_include_pad": 1}, opset=19))
    dilated = {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [2, 1, 2, 1]}
    rows.append(Case("MaxPool", ((1, 2, 8, 8),), dilated, "spaced"))
    rows.append(Case("MaxPool", ((1, 2, 8, 8),), {**dilated, "strides": [2, 1]}, "spaced"))
    rows.append(Case("MaxPool", ((1, 2, 6, 6),), {"kernel_shape": [3, 3]}, "spaced", opset=13))
    rows.append(Case("AveragePool", ((1, 2, 8, 8),), dilated, opset=19))
    rows.append(
        Case("AveragePool", ((1, 2, 6, 6),), {"kernel_shape": [3, 3], "pads": [1] * 4}, opset=13)
    )
    return rows


def resizes() -> list[Case]:
    """Return Resize in every mode."""
    rows = []
    shape = (1, 2, 4, 6)
    for transformation in ("half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners"):
        for mode in ("nearest", "linear"):
            options: dict[str, object] = {
                "mode": mode,
                "coordinate_transformation_mode": transformation,
            }
            for scales in (f32(1, 1, 2, 2), f32(1, 1, 1.5, 2.6), f32(1, 1, 0.5, 0.6)):
                rows.append(Case("Resize", (shape, None, scales), options))
            rows.append(Case("Resize", (shape, None, None, [1, 2, 7, 3]), options))
            rows.append(Case("Resize", (shape, None, None, [1, 2, 1, 6]), options))
    for nearest in ("floor", "ceil", "round_prefer_ceil"):
        for scales in (f32(1, 1, 2, 3), f32(1, 1, 1.7, 0.6)):
            rows.append(
                Case(
                    "Resize",
                    (shape, None, scales),
                    {"coordinate_transformation_mode": "asymmetric", "nearest_mode": nearest},
                )
            )
    for options in (
        {"mode": "cubic"},
        {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
        {"mode": "cubic", "coordinate_transformation_mode": "align_corners"},
        {"mode": "cubic", "coordinate_transformation_mode": "asymmetric"},
        {"mode": "cubic", "antialias": 1},
        {"mode": "linear", "antialias": 1},
        {"mode": "linear", "antialias": 1, "exclude_outside": 1},
        {"mode": "linear", "antialias": 1, "coordinate_transformation_mode": "align_corners"},
    ):
        for scales in (f32(1, 1, 2, 1.5), f32(1, 1, 0.5, 0.4)):
            rows.append(Case("Resize", ((1, 2, 6, 10), None, scales), options, opset=18))
    for policy in ("not_larger", "not_smaller"):
        options = {"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": policy}
        rows.append(Case("Resize", (shape, None, None, [7, 8]), options, opset=18))
    symmetric = {"coordinate_transformation_mode": "half_pixel_symmetric", "mode": "linear"}
    return [
        *rows,
        Case("Resize", (shape, None, f32(1, 1, 1.3, 2)), symmetric, opset=19),
        Case("Resize", (shape, None, f32(2, 2.5)), {"axes": [2, 3], "mode": "linear"}, opset=18),
        Case("Resize", (shape, None, None, [9]), {"axes": [3]}, opset=18),
        Case("Resize", ((1, 2, 5), None, f32(1, 1, 2.2)), {"mode": "linear"}),
        Case("Resize", ((1, 1, 2, 3, 4), None, f32(1, 1, 2, 1, 3))),
    ]


def samplers() -> list[Case]:
    """Return GridSample in every mode, beyond all borders.

    With these sizes the numbers of the domain "spaced" lie between the pixels.
    """
    rows = []
    for align, height in ((0, 10), (1, 11)):
        shapes = ((2, 3, height, 5), (2, 3, 2, 2))
        for padding in ("zeros", "border", "reflection"):
            options: dict[str, object] = {"padding_mode": padding, "align_corners": align}
            rows.append(Case("GridSample", shapes, options, "spaced"))
            nearest = {"mode": "nearest", **options}
            rows.append(Case("GridSample", shapes, nearest, "spaced", constants=(1,)))
    shapes = ((2, 3, 10, 5), (2, 3, 2, 2))
    rows.append(Case("GridSample", shapes, {"mode": "linear"}, "spaced", opset=20))
    return rows
