"""Mutated models and other inputs: zqc refuses each with an error of its own, or is right.

``cases`` makes a case of a number, ``oracle`` says what became of it, ``test_fuzz`` tries a few
hundred, and ``python -m tests.fuzz --minutes 20`` as many as it can and prints the counts.
"""
