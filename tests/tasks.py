"""Tasks that tests hand to long work."""


class Counter:
    """A task that adds up what it is told."""

    def __init__(self):
        self.steps = 0

    def advance(self, note="", steps=1):
        """Add the steps."""
        self.steps += steps
