"""Bits by layer: predicted losses, measured costs, and the choice within a budget."""
