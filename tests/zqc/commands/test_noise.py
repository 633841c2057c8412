"""What is said of structured noise."""

from tests.heard import Heard
from zqc.commands.noise import NO_STATISTICS, announce, caution, caution_of_losses


def test_the_caution_says_why_and_how_to_do_better():
    """In one line; statistics are not asked for where there are some."""
    without, unmatched = caution(NO_STATISTICS), caution("nothing can be matched")
    assert without.startswith("no BatchNorm statistics in the model: calibrated with structured")
    assert all(option in without for option in ("--statistics MODEL.pt", "--images DIRECTORY"))
    assert unmatched.startswith("nothing can be matched: calibrated with structured noise")
    assert "--images DIRECTORY" in unmatched
    assert "--statistics" not in unmatched
    assert "\n" not in without + unmatched


def test_it_is_announced():
    """Once, with the reason."""
    heard = Heard()
    announce(NO_STATISTICS, heard)
    assert heard.said == [
        f"Structured noise takes the place of synthesised pictures: {NO_STATISTICS}"
    ]


def test_a_bad_loss_is_said():
    """With both losses and a remedy, where steps have taken less than half of it away."""
    assert caution_of_losses(0.6, 0.1) == ""
    said = caution_of_losses(0.6, 0.4)
    assert "loss 0.6 → 0.4" in said
    assert "--effort thorough" in said
    assert "\n" not in said
