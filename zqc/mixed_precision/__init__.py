"""Bits by layer: predicted losses, measured costs, and the best choice within a budget."""
