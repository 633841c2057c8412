"""What is said of pictures that know little or nothing of what the network has learned."""

from __future__ import annotations

from zqc.progress import Progress

ASKED_FOR = (
    "calibrated with structured noise, which knows nothing of what the network has learned: ranges "
    "may be far off, so check the result on real pictures; --statistics or --images do better"
)
"""The caution where the options ask for noise."""

NO_STATISTICS = "no BatchNorm statistics in the model"
"""Why there is nothing to make pictures from."""

WHAT_STATISTICS_BRING = (
    "statistics bring a YOLO some 5 points of agreement: give the checkpoint, "
    "--statistics MODEL.pt, or pictures, --images DIRECTORY"
)
"""What statistics would bring to a model without any, and how to give them, see
docs/results/calibration.md."""

WHAT_PICTURES_BRING = "pictures of your own do better: --images DIRECTORY"
"""The same where there are statistics, but none that pictures can be matched to."""

_POOR = 0.5
"""Share of the first loss. Networks that have learned something end below 0.3 at quick effort."""


def announce(why: str, progress: Progress) -> None:
    """Say before the long work that noise is taken, and why."""
    progress.say(f"Structured noise takes the place of synthesised pictures: {why}")


def caution(why: str) -> str:
    """The one line beside what was calibrated with noise that nobody has asked for.

    Args:
        why: ``NO_STATISTICS``, or why pictures cannot be matched to those there are.
    """
    remedy = WHAT_STATISTICS_BRING if why == NO_STATISTICS else WHAT_PICTURES_BRING
    return f"{why}: calibrated with structured noise; {remedy}"


def caution_of_losses(first: float, last: float) -> str:
    """The line beside pictures that hardly match the statistics; empty beside others.

    Args:
        first: Loss of the structured noise that they began as.
        last: Loss of the pictures.
    """
    if last <= _POOR * first:
        return ""
    return (
        f"the pictures hardly match the statistics better than noise does (loss {first:.3g} → "
        f"{last:.3g}), so that they say little more: check the result on real pictures; more "
        "steps (--effort thorough) or --images may do better"
    )
