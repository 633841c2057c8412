"""The same computation in PyTorch, written independently, to compare with."""
