"""Other quantizers, each in an environment of its own, for ``tools.compare.quantizers``."""
