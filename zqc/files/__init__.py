"""Outputs: where they can go, and how they get there whole or not at all."""
