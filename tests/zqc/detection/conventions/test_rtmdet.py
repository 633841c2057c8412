"""RTMDet level by level."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.families import ALL, Builder, facts_of
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.rtmdet import RtmDet

STRIDES = (8, 16, 32)


def heads(*, factors=STRIDES, squashed=False, boxes=4):
    """Two outputs on each grid, the distances times the stride."""
    net = Builder()
    for stride, factor in zip(STRIDES, factors, strict=True):
        grid = net.grid(stride)
        score = net.conv(f"raw{stride}" if squashed else f"cls{stride}", grid, 3)
        if squashed:
            score = net.add(f"cls{stride} = Sigmoid({score})")
        net.conv(f"reg{stride}", grid, boxes)
        net.add(f"positive{stride} = Exp(reg{stride})")
        net.add(
            f"bbox{stride} = Mul(positive{stride}, by{stride})", **{f"by{stride}": float(factor)}
        )
        net.output(score, rank=4)
        net.output(f"bbox{stride}", rank=4)
    return net.model()


@pytest.mark.parametrize("squashed", [False, True])
def test_distances_start_in_the_corner_of_the_cell(squashed):
    """One cell becomes its box; logits go through the sigmoid and scores do not."""
    convention = recognise(facts_of(heads(squashed=squashed)))
    assert isinstance(convention, RtmDet)
    assert (convention.logits, convention.classes) == (not squashed, 3)
    outputs = {}
    for stride in STRIDES:
        cells = 128 // stride
        outputs[f"cls{stride}"] = np.full((1, 3, cells, cells), 0 if squashed else -20, np.float32)
        outputs[f"bbox{stride}"] = np.zeros((1, 4, cells, cells), np.float32)
    outputs["cls32"][0, 1, 3, 2] = 0.75 if squashed else np.log(3)
    outputs["bbox32"][0, :, 3, 2] = [1, 2, 3, 4]
    [found] = convention.decode(outputs, ALL)
    assert found.boxes.tolist() == [[63, 94, 67, 100]]  # around (64, 96)
    assert found.labels.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([0.75], abs=1e-6)


@pytest.mark.parametrize("options", [{"factors": (8, 16, 16)}, {"boxes": 5}])
def test_other_heads_are_not_known(options):
    """Factors that are not the strides, and five numbers instead of four: rotated boxes."""
    assert recognise(facts_of(heads(**options))) is None
