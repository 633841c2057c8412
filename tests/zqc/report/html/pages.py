"""Pages for the tests: one with everything in it, and one with nothing but a verdict."""

import math

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
            page.LayerRow(name, "Conv", 4, 8, (-9, -5), -6, 0.01, 30.0, 25.0, 40.0, 4096, True),
            page.LayerRow(name, "Gemm", 32, 32, integer=False, reason=name),
            page.LayerRow(
                "first/depthwise", "Conv", 8, 8, (-7, -7), -5, 0.2, 3.0, 1.0, 9.0, 288, True
            ),
        ),
        layers_note=name,
        steps=(
            page.StepRow((name,), 483, 20.0, 10.0, math.nan, 0.9),
            page.StepRow((name, "other", name), -5000, 30.0, 20.0, math.nan, 0.95, suggested=True),
        ),
        distributions=(page.Distribution(name, (-1.0, 0.0, 1.0, 2.0), (1, 0, 4), 0.0, 1.5, name),),
        calibration=page.Calibration(name, (uri,), (1.0, 0.1, 0.0, 0.01)),
        recipe=f'bits = 4\nname = "{name}"',
        command=f"zqc compile {name}",
        facts=((name, name),),
    )


def diagnosed(name="sneaker"):
    """A page whose layers have all that ``zqc debug`` and ``zqc sensitivity`` find of them."""
    rows = [
        page.LayerRow(
            name=each,
            op_type="Conv",
            weight_bits=4,
            act_bits=8,
            boxes_db=30.0 + rank,
            scores_db=math.inf,
            other_db=20.0,
            agreement=0.9,
            cumulative_db=-5.0,
            weight_thresholds=(-1.5, 2.0),
            input_threshold=3.0,
            output_threshold=math.nan,
            output_clipped=0.01,
            local_db=12.0,
            cumulative_boxes_db=70.0,
            cumulative_scores_db=math.inf,
            cumulative_other_db=3.0,
            spared_bits=32,
            spared_bytes=-240.0,
            gain_boxes_db=-0.6,
            gain_scores_db=0.7,
            rank=rank,
            mark=name if rank == 1 else "",
            note=name if rank == 1 else "",
            wrong=rank == 1,
        )
        for each, rank in ((name, 2), ("depthwise", 1), ("last", 3))
    ]
    verdict = page.Verdict("not judged", name, f"zqc {name}", name, title=name)
    return page.Page(name, name, "1.0", verdict=verdict, layers=tuple(rows), layers_note=name)


def bare():
    """A page that says nothing but a verdict."""
    return page.Page("model.onnx", "Check", "1.0", verdict=page.Verdict("good"))
