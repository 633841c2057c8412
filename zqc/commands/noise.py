"""What is said of structured noise, where it takes the place of pictures made from statistics."""

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
    "statistics show what the network has learned: give its checkpoint, --statistics MODEL.pt, "
    "or pictures, --images DIRECTORY"
)
"""What statistics would bring to a model without any, and how to give them."""

WHAT_PICTURES_BRING = "pictures of your own do better: --images DIRECTORY"
"""The same where there are statistics, but none that pictures can be matched to."""


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
