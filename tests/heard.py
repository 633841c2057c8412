"""What long work says."""

from zqc.progress import Silent


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def say(self, text):
        """Keep it."""
        self.said.append(text)
