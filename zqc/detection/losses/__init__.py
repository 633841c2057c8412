"""The losses that detectors are trained with, as nodes, and how labels are assigned to candidates.

A loss is computed from what the convention of a detector reads: for each candidate a box, logits of
classes and, as the family has them, objectness and the distributions of the sides. Which candidate
answers for which label is decided on the host and comes in as an input of the graph, so that labels
change without a new graph.
"""
