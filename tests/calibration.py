"""Calibration sets and plans for tests of single stages."""

from zqc.pictures.batches import Batches
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe


class GivenBatches:
    """Arrays of any rank and size as a calibration set, in the place of ``Batches``."""

    first = Batches.first

    def __init__(self, *arrays):
        self.arrays = arrays

    @property
    def kinds(self):
        """All of one kind."""
        return (self,)

    def __len__(self):
        return sum(map(len, self.arrays))

    def __iter__(self):
        return iter(self.arrays)


def plan_of(recipe=None, *, excluded=()):
    """The plan of a recipe on one thread."""
    return Plan.of(recipe or Recipe(), threads=1).excluding(excluded)


def lowered(model, target):
    """A canonical model in the form of a target."""
    return plan_of(Recipe(target=target)).target.lower(model)
