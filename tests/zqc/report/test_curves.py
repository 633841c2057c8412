"""The plots of a synthesis: drawn whatever the numbers are, and the same bytes every time."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from zqc.report.curves import GOOD_GAP, draw_gaps, draw_losses
from zqc.synthesis.loop import LayerGap

INF, NAN = float("inf"), float("nan")
GAPS = tuple(LayerGap(f"layer{index}", 0.1 * index, 0.3) for index in range(5))


# What matplotlib and numpy complain about would reach the standard error of the user.
pytestmark = [
    pytest.mark.filterwarnings("error::UserWarning"),
    pytest.mark.filterwarnings("error::RuntimeWarning"),
]


def coloured(path, channel):
    """Pixels of a plot in which a channel of RGB outweighs the others clearly."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    others = np.delete(pixels, channel, axis=2).max(axis=2)
    return np.argwhere(pixels[:, :, channel] > others + 40)


@pytest.mark.parametrize(
    "losses", [[3.0], [3.0, 0.1], [NAN], [INF, 1.0], [1.0, 0.0], [0.0], [1e-12, 1e30]]
)
def test_any_losses_are_drawn(tmp_path, losses):
    """One loss, none that has a logarithm, none that is finite: still a plot, and no warning."""
    draw_losses(tmp_path / "loss.png", losses)
    assert Image.open(tmp_path / "loss.png").size == (800, 400)


def test_the_scale_is_logarithmic(tmp_path):
    """Losses that fall by a factor from step to step are a straight line."""
    draw_losses(tmp_path / "loss.png", list(np.geomspace(100, 0.01, 101)))
    rows, columns = coloured(tmp_path / "loss.png", 2).T
    slope, start = np.polyfit(columns, rows, 1)
    assert slope > 0.3
    assert np.abs(rows - slope * columns - start).max() < 3


def test_gaps_are_where_they_belong(tmp_path):
    """A row for each layer from top to bottom, the mean further right where it is larger."""
    draw_gaps(tmp_path / "gap.png", GAPS)
    points = coloured(tmp_path / "gap.png", 2)  # the legend is above the plot, at the right
    points = points[points[:, 0] > 40]
    assert points[:, 0].max() - points[:, 0].min() > 60
    assert np.corrcoef(points.T)[0, 1] > 0.95


@pytest.mark.parametrize("name", ["a$b_{c$", "层/模型", "x" * 300, "\\frac", ""])
def test_any_name_is_drawn(tmp_path, name):
    """Names with formulas, other letters or great length do no harm."""
    draw_gaps(tmp_path / "gap.png", [LayerGap(name, 0.1, 0.2)])
    assert Image.open(tmp_path / "gap.png").size[0] == 800


@pytest.mark.parametrize("value", [NAN, INF, 0.0, 1e30])
def test_any_gap_is_drawn(tmp_path, value):
    """A gap that is no number leaves its row empty."""
    draw_gaps(tmp_path / "gap.png", [LayerGap("a", value, value), LayerGap("b", 0.1, 0.2)])
    assert (tmp_path / "gap.png").stat().st_size > 0


def test_the_same_bytes_every_time(tmp_path):
    """Neither a date nor what matplotlib was set to makes a difference."""
    import matplotlib

    draw_losses(tmp_path / "a.png", [2.0, 1.0])
    draw_gaps(tmp_path / "b.png", GAPS)
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 20, "savefig.dpi": 30}):
        draw_losses(tmp_path / "c.png", [2.0, 1.0])
        draw_gaps(tmp_path / "d.png", GAPS)
    contents = [(tmp_path / f"{name}.png").read_bytes() for name in "abcd"]
    assert contents[:2] == contents[2:]
    for name in "ab":
        assert set(Image.open(tmp_path / f"{name}.png").info) == {"dpi"}


def test_no_state_of_pyplot():
    """Drawing leaves pyplot alone, and importing leaves matplotlib alone."""
    script = (
        "import sys; from zqc.report import curves; early = 'matplotlib' in sys.modules\n"
        "curves.draw_losses(sys.argv[1], [1.0]); print(early, 'matplotlib.pyplot' in sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-c", script, "/dev/null"], capture_output=True, text=True, check=True
    ).stdout
    assert output.split() == ["False", "False"]


def test_a_line_for_good(tmp_path):
    """In the plot of the gaps a green line stands between what is good and what is not."""
    good, bad = GOOD_GAP / 2, GOOD_GAP * 2
    draw_gaps(tmp_path / "gap.png", [LayerGap("a", good, 0.4), LayerGap("b", bad, 0.4)])
    line, points = (coloured(tmp_path / "gap.png", channel) for channel in (1, 2))
    line, points = (found[found[:, 0] > 60][:, 1] for found in (line, points))  # below the legend
    assert np.ptp(line) <= 2
    assert points.min() < line.mean() < points.max()


@pytest.mark.parametrize("model", ["detector.onnx", "a$b_{c$层" + "x" * 200])
def test_titles(tmp_path, model):
    """The model's name is above the plot, whatever letters it has, and the size stays."""
    for name, title in (("a", ""), ("b", model)):
        draw_losses(tmp_path / f"{name}.png", [2.0, 1.0], title)
        draw_gaps(tmp_path / f"{name}_gap.png", GAPS, title)
    for name in ("", "_gap"):
        without, titled = (np.asarray(Image.open(tmp_path / f"{x}{name}.png")) for x in "ab")
        assert without.shape == titled.shape
        assert not np.array_equal(without[:60], titled[:60])
