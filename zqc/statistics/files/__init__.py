"""Readers of the files that trained weights are kept in: names and arrays, nothing is executed."""
