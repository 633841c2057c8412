"""Pages for the tests: one with everything in it, and one with nothing but a verdict."""

import numpy as np

from zqc.report.html import images, page

HOSTILE = "<script>alert('x')</script>\"&'{{ 7*7 }}\u202e层"
"""A name that must come out as it is, and do nothing."""


def full(name="sneaker"):
    """A page with every section, all of whose names are ``name``."""
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    uri = images.picture_uri(pixels)
    shapes = (
        page.Shape((1, 2, 20, 30), name, 0.91, "kept", note=name),
        page.Shape((50, 1, 63, 40), name, 0.4, "lost"),
        page.Shape((2, 2, 30, 40), name, 0.5, "kept", corners=((2, 9), (20, 2), (30, 30), (9, 40))),
        page.Shape((2, 2, 30, 47), name, 0.5, "kept", keypoints=((4, 5), (9, 9))),
    )
    new = page.Shape((3, 3, 9, 9), name, 0.3, "new")
    picture = page.Picture(
        name, uri, 64, 48, shapes, (*shapes[:1], new), (page.Shape((1, 2, 20, 30), name),)
    )
    return page.Page(
        model=name,
        kind=name,
        version="1.0",
        precision=name,
        target=name,
        verdict=page.Verdict("usable with care", name, f"zqc {name}", name),
        warnings=(name,),
        tiles=(
            page.Tile("Size", name, name, name, 0.25),
            page.Tile("mAP", name, interval=page.Interval(-1.0, -2.0, 0.5, "points")),
        ),
        pictures=page.Pictures((picture, picture), 9, name),
        matches=page.Matches(9, 2, 1, 0.93, -0.02, 0.3, 0.27, ((0.9, 0.88), (0.5, 0.4)), name),
        classes=(page.ClassRow(name, 10, 0.8, 0.75, 9, 2, 1), page.ClassRow(name)),
        parts=(
            page.PartRow("boxes", float("inf"), 1.0, note=name),
            page.PartRow("scores", 12.0, 0.9, 100, 4000),
        ),
        layers=(
            page.LayerRow(name, "Conv", 4, 8, (-9, -5), -6, 0.01, 30.0, 25.0, 40.0, 4096),
            page.LayerRow(name, "Gemm", 32, 32, integer=False, reason=name),
            page.LayerRow("first/depthwise", "Conv", 8, 8, (-7, -7), -5, 0.2, 3.0, 1.0, 9.0, 288),
        ),
        distributions=(page.Distribution(name, (-1.0, 0.0, 1.0, 2.0), (1, 0, 4), 0.0, 1.5, name),),
        calibration=page.Calibration(name, (uri,), (1.0, 0.1, 0.0, 0.01)),
        recipe=f'bits = 4\nname = "{name}"',
        command=f"zqc compile {name}",
        facts=((name, name),),
    )


def bare():
    """A page that says nothing but a verdict."""
    return page.Page("model.onnx", "Check", "1.0", verdict=page.Verdict("good"))
