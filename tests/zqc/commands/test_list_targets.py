"""What ``zqc targets`` says of each target."""

import dataclasses

from zqc import targets
from zqc.commands.list_targets import list_targets


def test_zqcs_own_come_first_and_whole():
    """Each has its name, its sentences, its bits and its kernels, and no package of another."""
    found = list_targets().targets
    assert tuple(report.name for report in found[: len(targets.BUILT_IN)]) == targets.BUILT_IN
    for report, name in zip(found, targets.BUILT_IN, strict=False):
        target = targets.find(name)
        for field in dataclasses.fields(report):
            expected = "" if field.name == "package" else getattr(target, field.name)
            assert getattr(report, field.name) == expected
